# The options of `services.conntidy`.
{
  lib,
  pkgs,
  ...
}:

let
  inherit (lib) mkOption types;

  settings = import ./schema.nix {
    inherit lib;
    schema = lib.importJSON ../policy-schema.json;
    freeform = (pkgs.formats.toml { }).type;
  };

  settingsOption =
    what:
    mkOption {
      type = settings;
      default = { };
      example = {
        table.max = "512k";
        timeouts.tcp.established = "1d";
        rules.closed = {
          match = {
            protocol = "tcp";
            state = "TIME_WAIT";
            idle-for = "10s";
          };
          action = "delete";
          budget.percent = 30;
        };
        protect.ssh.match = {
          protocol = "tcp";
          dport = 22;
        };
      };
      description = "The policy of ${what}: the language of policy.toml, key by key. `null` leaves a key out.";
    };

  span =
    text: default:
    mkOption {
      type = types.str;
      inherit default;
      description = text;
    };
in
{
  options.services.conntidy = {
    enable = lib.mkEnableOption "conntidy, which keeps the connection tracking table the way a policy says";

    package = mkOption {
      type = types.package;
      default = pkgs.conntidy or (pkgs.callPackage ../package.nix { });
      defaultText = lib.literalExpression "pkgs.conntidy";
      description = "The conntidy package to use.";
    };

    settings = settingsOption "the initial network namespace";

    checkPolicy = mkOption {
      type = types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = lib.literalExpression "pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform";
      description = "Whether `conntidy check` looks at each policy while the system is built, and fails the build on a mistake.";
    };

    operators = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "alice" ];
      description = "Users of the group `conntidy`, who may read the snapshots in `/var/lib/conntidy`.";
    };

    reconcile = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Whether a timer keeps the table as the policy says. Without it tunables are applied at boot and rules never.";
      };
      interval = span "How often the timer looks for what is due. Each rule and snapshot keeps its own interval; where nothing is due a run costs next to nothing." "1min";
      randomizedDelay = span "Spread of the timer, for hosts that would all wake at once." "10s";
      accuracy = span "How exactly the timer must fire; coarser lets the machine sleep." "10s";
    };

    dryActivatePlan = mkOption {
      type = types.bool;
      default = true;
      description = "Whether `nixos-rebuild dry-activate` prints the plan of the new policy. It changes nothing.";
    };

    namespaces = mkOption {
      default = { };
      description = "Other network namespaces, each with a policy of its own. Sizes of the table are the initial namespace's alone.";
      type = types.attrsOf (
        types.submodule (
          { name, ... }:
          {
            options = {
              path = mkOption {
                type = types.str;
                default = "/run/netns/${name}";
                defaultText = lib.literalMD "`/run/netns/` and the name";
                description = "Where the namespace is mounted. While it is not there, nothing runs and nothing fails.";
              };
              settings = settingsOption "this namespace";
            };
          }
        )
      );
    };
  };
}
