# Settings -> policy file, and what the settings say about sysctls.
{
  lib,
  pkgs,
  package,
}:

let
  toml = pkgs.formats.toml { };
  seconds = import ./duration.nix;

  # TOML has no null. `formats.toml` does not look into lists.
  withoutNull =
    value:
    if lib.isAttrs value then
      lib.mapAttrs (_: withoutNull) (lib.filterAttrs (_: child: child != null) value)
    else if lib.isList value then
      map withoutNull value
    else
      value;

  document =
    settings:
    let
      set = withoutNull settings;
      timeouts = lib.filterAttrs (_: value: value != { }) set.timeouts;
    in
    lib.filterAttrs (_: value: value != { }) (set // { inherit timeouts; });

  file = settings: toml.generate "conntidy-policy.toml" (document settings);

  # The check needs no root, no kernel and no network. What the log says of the file is found by its line numbers.
  checked =
    unchecked:
    pkgs.runCommand "conntidy-policy.toml" { } ''
      cp ${unchecked} policy.toml
      if ! ${lib.getExe package} check --color never policy.toml >log 2>&1; then
        cat -n policy.toml >&2
        cat log >&2
        echo "This is what services.conntidy.settings gives; services.conntidy.checkPolicy = false builds it unchecked." >&2
        exit 1
      fi
      cat log
      cp ${unchecked} $out
    '';

  timeoutKey =
    protocol: state:
    let
      suffix = if state == "unreplied" then "" else "_" + lib.replaceStrings [ "-" ] [ "_" ] state;
    in
    "nf_conntrack_${protocol}_timeout${suffix}";

  # Each sysctl that the settings speak of, with its value and mode.
  tunables =
    settings:
    let
      set = document settings;
      moded =
        value:
        if lib.isAttrs value && value ? value then
          { mode = "enforce"; } // value
        else
          {
            inherit value;
            mode = "enforce";
          };
      table = set.table or { };
      timeouts = removeAttrs (set.timeouts or { }) [
        "apply-to-existing"
        "accept-risk"
      ];
      named =
        protocol: value:
        if lib.isAttrs value && !value ? value then
          lib.mapAttrs' (state: lib.nameValuePair (timeoutKey protocol state)) value
        else
          { "nf_conntrack_${protocol}_timeout" = value; };
    in
    lib.optionalAttrs (table ? max) {
      nf_conntrack_max = {
        value = table.max;
        mode = table.mode or "at-least";
      };
    }
    // lib.mapAttrs (_: moded) (
      lib.optionalAttrs (table ? buckets) { nf_conntrack_buckets = table.buckets; }
      // lib.optionalAttrs (table ? expect-max) { nf_conntrack_expect_max = table.expect-max; }
      // lib.foldl' (all: some: all // some) { } (lib.mapAttrsToList named timeouts)
      // set.sysctl or { }
    );
in
{
  inherit
    file
    checked
    tunables
    seconds
    ;
}
