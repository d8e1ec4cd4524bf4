# docs/nixos-options.md. `nix/tests/ci.sh --update` writes it.
arguments:

let
  harness = import ./tests/harness.nix arguments;
  inherit (harness) lib;

  options = lib.optionAttrSetToDocList (harness.evaluate [ ]).options.services.conntidy;

  # What is in docs/policy.md already, or for a namespace as for the host.
  isShown =
    option:
    !option.internal
    && !lib.hasInfix "._module" option.name
    && !lib.hasInfix ".match." option.name
    && !lib.hasInfix ".namespaces.<name>.settings." option.name;

  escape = lib.replaceStrings [ "<" ">" "|" "*" ] [ "&lt;" "&gt;" "\\|" "\\*" ];
  code = text: "`${text}`";

  text =
    value:
    if value ? text then
      (if value._type or "" == "literalMD" then value.text else code value.text)
    else
      code (lib.generators.toPretty { multiline = false; } value);

  isUnset =
    option: !option ? default || option.default == null || option.default.text or null == "null";

  entry = option: ''
    ### ${code option.name}

    ${escape option.description}

    Type: ${escape option.type}${
      lib.optionalString (!isUnset option) "; default ${text option.default}"
    }${lib.optionalString (lib.hasSuffix ".match" option.name) ". Its keys are those of a [match](policy.md#match)"}
  '';
in
{
  list = map (option: { inherit (option) name; }) options;
  markdown = ''
    # Options of the NixOS module

    Made from the module by `nix/tests/ci.sh --update`; how to use it is in [nixos.md](nixos.md). What the settings mean is in
    [policy.md](policy.md); their types and descriptions are the policy's JSON Schema. Every one of them may also be `null`,
    which leaves the key out, as if it were not there.

    ${lib.concatMapStringsSep "\n" entry (lib.filter isShown options)}'';
}
