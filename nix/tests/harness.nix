# The module evaluated as NixOS would, with nixpkgs' own `lib` and the code that renders units, and without packages: what
# the module sets is declared here, and packages are paths of this machine.
{
  # A tree of nixpkgs: nixos/lib is taken from it, and lib unless given.
  nixpkgs,
  lib ? import (nixpkgs + "/lib"),
  # Directory of the conntidy to be checked with.
  conntidy ? "/usr",
  # Directory of the programs of builds.
  tools ? "/usr/bin",
}:

let
  derive =
    name: environment: script:
    derivation (
      environment
      // {
        inherit name;
        system = builtins.currentSystem;
        builder = "/bin/sh";
        args = [
          "-ec"
          script
        ];
        PATH = "${tools}:/usr/bin:/bin";
      }
    );

  platform = {
    canExecute = _: true;
    system = builtins.currentSystem;
  };

  tomlValue =
    with lib.types;
    let
      value = oneOf [
        bool
        int
        float
        str
        path
        (attrsOf value)
        (listOf value)
      ];
    in
    attrsOf value // { description = "TOML value"; };

  dummy = name: {
    inherit name;
    type = "derivation";
    outPath = "/run/current-system/sw";
    outputName = "out";
    meta.mainProgram = name;
  };

  # A package for the option, and a directory for the units.
  package = dummy "conntidy" // {
    outPath = conntidy;
  };

  pkgs = {
    inherit lib;
    conntidy = package;
    coreutils = dummy "coreutils";
    findutils = dummy "findutils";
    gnugrep = dummy "gnugrep";
    gnused = dummy "gnused";
    systemd = dummy "systemd";
    stdenv = {
      buildPlatform = platform;
      hostPlatform = platform;
    };
    runCommand = derive;
    formats.toml = _: {
      type = tomlValue;
      generate =
        name: value:
        derive name {
          json = builtins.toJSON value;
          passAsFile = [ "json" ];
        } "python3 ${./json2toml.py} <\"$jsonPath\" >\"$out\"";
    };
  };

  utils = import (nixpkgs + "/nixos/lib/utils.nix") {
    inherit lib pkgs;
    config.systemd = {
      package = pkgs.systemd;
      globalEnvironment = { };
      enableStrictShellChecks = false;
    };
  };
  systemd = utils.systemdUtils;

  inherit (lib) mkOption types;
  any =
    default:
    mkOption {
      type = types.anything;
      inherit default;
    };
  lines = mkOption {
    type = types.lines;
    default = "";
  };
  list =
    type:
    mkOption {
      type = types.listOf type;
      default = [ ];
    };

  nixos.options = {
    assertions = list types.unspecified;
    warnings = list types.str;
    boot.kernelModules = list types.str;
    # As in nixos/modules/config/sysctl.nix: one value a key, null leaves it out.
    boot.kernel.sysctl = mkOption {
      default = { };
      type = types.attrsOf (
        types.nullOr (
          types.oneOf [
            types.bool
            types.str
            types.int
          ]
        )
      );
    };
    environment.etc = any { };
    environment.systemPackages = list types.unspecified;
    services.k3s = any { };
    services.rke2 = any { };
    services.kubernetes = any { };
    services.udev.extraRules = lines;
    networking = any { };
    system.activationScripts = any { };
    system.stateVersion = any "";
    users = any { };
    systemd.tmpfiles.rules = list types.str;
    systemd.services = mkOption {
      type = systemd.types.services or (types.attrsOf (types.submodule systemd.types.serviceOptions));
      default = { };
    };
    systemd.timers = mkOption {
      type = systemd.types.timers or (types.attrsOf (types.submodule systemd.types.timerOptions));
      default = { };
    };
  };

  evaluate =
    modules:
    lib.evalModules {
      modules = [
        nixos
        ../module
        { config._module.args = { inherit pkgs utils; }; }
      ]
      ++ modules;
    };

  # The name is an argument of these before NixOS 24.05.
  render =
    make: name: definition:
    let
      rendered = make name;
    in
    if builtins.isFunction rendered then rendered definition else make definition;
in
{
  inherit lib evaluate pkgs;

  # What of a system the tests look at; throws what NixOS would refuse.
  system =
    modules:
    let
      inherit (evaluate modules) config;
      failed = lib.filter (one: !one.assertion) config.assertions;
      enabled = lib.filterAttrs (_: unit: unit.enable);
      text =
        suffix: make:
        lib.mapAttrs' (name: unit: lib.nameValuePair "${name}.${suffix}" (render make name unit).text);
    in
    if failed != [ ] then
      throw (lib.concatMapStringsSep "\n" (one: one.message) failed)
    else
      {
        inherit config;
        inherit (config) warnings;
        units =
          text "service" systemd.lib.serviceToUnit (enabled config.systemd.services)
          // text "timer" systemd.lib.timerToUnit (enabled config.systemd.timers);
        policy = config.environment.etc."conntidy/policy.toml".source;
        # Builds what the units name: every policy.
        policies = derive "policies" {
          commands = map (unit: unit.serviceConfig.ExecStart) (lib.attrValues config.systemd.services);
        } "echo \"$commands\" >\"$out\"";
      };
}
