# What contradicts the policy elsewhere in the configuration, and what is likely a mistake.
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.conntidy;
  policy = import ./policy.nix {
    inherit lib pkgs;
    inherit (cfg) package;
  };

  isWritten = tunable: tunable.mode != "observe";
  written = lib.filterAttrs (_: isWritten) (policy.tunables cfg.settings);

  # systemd-sysctl takes both spellings.
  spellings =
    name:
    lib.concatMap
      (key: [
        key
        (lib.replaceStrings [ "." ] [ "/" ] key)
      ])
      ([ "net.netfilter.${name}" ] ++ lib.optional (name == "nf_conntrack_max") "net.nf_conntrack_max");
  declaredTwice = lib.filter (key: config.boot.kernel.sysctl.${key} or null != null) (
    lib.concatMap spellings (lib.attrNames written)
  );

  namespaceErrors = lib.concatLists (
    lib.mapAttrsToList (
      name: namespace:
      let
        sizes = lib.attrNames (lib.filterAttrs (_: value: value != null) namespace.settings.table);
      in
      [
        {
          assertion = sizes == [ ];
          message = "services.conntidy.namespaces.${name}.settings.table sets ${lib.concatStringsSep ", " sizes}: only the initial network namespace may write these. Move them to services.conntidy.settings.table.";
        }
        {
          assertion = builtins.match "[A-Za-z0-9_.-]+" name != null;
          message = "services.conntidy.namespaces.\"${name}\": a name has letters, digits, `-`, `_` and `.` only, since units are called by it. `path` may be any.";
        }
      ]
    ) cfg.namespaces
  );

  # What kube-proxy writes when it starts, and the argument that keeps it from that.
  kubeProxy = {
    nf_conntrack_max = "conntrack-max-per-core=0";
    nf_conntrack_tcp_timeout_established = "conntrack-tcp-timeout-established=0s";
    nf_conntrack_tcp_timeout_close_wait = "conntrack-tcp-timeout-close-wait=0s";
  };
  nodes = {
    "services.k3s" = config.services.k3s or { };
    "services.rke2" = config.services.rke2 or { };
    "services.kubernetes.proxy" = config.services.kubernetes.proxy or { };
  };
  kubernetesWarnings = lib.concatLists (
    lib.mapAttrsToList (
      service: node:
      let
        given = toString (node.extraFlags or node.extraOpts or "");
        isFought =
          name: argument: written ? ${name} && !lib.hasInfix (lib.head (lib.splitString "=" argument)) given;
        fought = lib.filterAttrs isFought kubeProxy;
        prefix = if service == "services.kubernetes.proxy" then "--" else "--kube-proxy-arg=";
        option = if service == "services.kubernetes.proxy" then "extraOpts" else "extraFlags";
      in
      lib.optional (node.enable or false && fought != { })
        "services.conntidy manages ${lib.concatStringsSep ", " (lib.attrNames fought)}, which kube-proxy (${service}) writes whenever it starts. Give ${service}.${option} ${
          lib.concatMapStringsSep " " (argument: "`${prefix}${argument}`") (lib.attrValues fought)
        }, or set these keys to mode = \"observe\"."
    ) nodes
  );

  # RFC 5382.
  shortest = 7440;
  shortWarnings =
    where: settings:
    let
      established = (policy.tunables settings).nf_conntrack_tcp_timeout_established or null;
      value = if established == null then null else policy.seconds established.value;
    in
    lib.optional
      (value != null && isWritten established && established.mode != "at-least" && value < shortest)
      "${where}.timeouts.tcp.established is below 2h4m (RFC 5382): living connections that are silent for that long break.";
in
{
  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = declaredTwice == [ ];
        message = "Declared both in boot.kernel.sysctl and in services.conntidy.settings: ${lib.concatStringsSep ", " declaredTwice}. They would be written back and forth. Remove them from one; where another module sets one, `boot.kernel.sysctl.\"${
          lib.head (declaredTwice ++ [ "" ])
        }\" = lib.mkForce null;` leaves it to conntidy.";
      }
    ]
    ++ namespaceErrors;

    warnings =
      kubernetesWarnings
      ++ shortWarnings "services.conntidy.settings" cfg.settings
      ++ lib.concatLists (
        lib.mapAttrsToList (
          name: namespace: shortWarnings "services.conntidy.namespaces.${name}.settings" namespace.settings
        ) cfg.namespaces
      )
      ++ lib.optional (
        !cfg.reconcile.enable && cfg.settings.rules != { }
      ) "services.conntidy.settings.rules are never run: services.conntidy.reconcile.enable is false."
      ++
        lib.optional (!cfg.reconcile.enable && cfg.namespaces != { })
          "services.conntidy.namespaces are never looked after: services.conntidy.reconcile.enable is false.";
  };
}
