# What the NAT router of the examples gets, as files by name: units, policy, and what starts what. Store paths are
# @conntidy@ and @policy@, and what only depends on NixOS' own packages is left out.
arguments:

let
  harness = import ./harness.nix (arguments // { conntidy = "@conntidy@"; });
  inherit (harness) lib;
  host = harness.system [
    ../examples/nat-router.nix
    { services.conntidy.checkPolicy = false; }
  ];
  inherit (host) config;

  policyOf =
    settings: (builtins.match ".*\"--policy\" (\"[^\"]*\").*" settings.serviceConfig.ExecStart);
  nameOf =
    service:
    if lib.hasPrefix "conntidy-netns-" service then
      "\"@policy@/${lib.removePrefix "conntidy-netns-" service}.toml\""
    else
      "\"@policy@/policy.toml\"";

  tidy =
    name: text:
    let
      service = config.systemd.services.${lib.removeSuffix ".service" name} or null;
      found = if service == null then null else policyOf service;
      replaced =
        if found == null then
          text
        else
          builtins.replaceStrings (map builtins.unsafeDiscardStringContext found) [
            (nameOf (lib.removeSuffix ".service" name))
          ] (builtins.unsafeDiscardStringContext text);
      isKept = line: line != "" && !lib.hasPrefix "Environment=" line;
      lines = lib.filter isKept (lib.splitString "\n" replaced);
      spaced = line: if line == "[Service]" || line == "[Timer]" then "\n${line}" else line;
    in
    lib.concatMapStrings (line: "${spaced line}\n") lines;

  links =
    suffix: units:
    lib.concatLists (
      lib.mapAttrsToList (
        name: unit: map (target: "${target}.wants/${name}.${suffix}\n") unit.wantedBy
      ) units
    );
in
lib.mapAttrs tidy host.units
// {
  wants = lib.concatStrings (
    links "service" config.systemd.services ++ links "timer" config.systemd.timers
  );
  tmpfiles = lib.concatMapStrings (line: "${line}\n") config.systemd.tmpfiles.rules;
  udev = config.services.udev.extraRules;
}
