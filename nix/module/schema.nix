# The policy's JSON Schema (`conntidy schema policy`) as types of the module system, so that the options, their
# types and their descriptions are those of the program.
#
# Sections, the protocols of `timeouts` and named tables merge key by key across modules, as the layers of a policy
# do. What lies deeper (`match`, `budget`, a size, a value with its mode) takes one definition: a predicate merged
# of two would mean what nobody wrote.
{
  lib,
  schema,
  # Type of keys that the schema does not know.
  freeform,
}:

let
  inherit (lib) mkOption types;

  resolve =
    node:
    if node ? "$ref" then
      schema."$defs".${lib.removePrefix "#/$defs/" node."$ref"} // removeAttrs node [ "$ref" ]
    else
      node;

  scalars = {
    string = types.str;
    integer = types.int;
    number = types.float;
    boolean = types.bool;
  };

  # A value below the keys that merge.
  value =
    reference:
    let
      node = resolve reference;
      describe = type: if node ? description then type // { inherit (node) description; } else type;
    in
    if node ? anyOf then
      types.oneOf (map value node.anyOf)
    else if node ? enum then
      types.enum node.enum
    else if node ? properties then
      whole (table node.properties)
    else if lib.isList node.type then
      describe (types.oneOf (map (name: scalars.${name}) node.type))
    else if node.type == "array" then
      (if node ? minItems then types.nonEmptyListOf else types.listOf) (value node.items)
    else
      describe scalars.${node.type};

  whole =
    type:
    lib.mkOptionType {
      name = "whole";
      inherit (type)
        description
        getSubOptions
        nestedTypes
        ;
      # A submodule would also take paths and functions.
      check = lib.isAttrs;
      merge =
        loc: defs:
        if lib.length defs == 1 then
          type.merge loc defs
        else
          throw ''
            The option `${lib.showOption loc}' takes one definition: merged of several it would mean what none of them says.
            It is defined in:${lib.concatMapStrings (def: "\n- ${toString def.file}") defs}
            Use lib.mkForce for the one that shall win.'';
    };

  # Of a property, the description says what the option is for, not what its values look like.
  leaf =
    node:
    mkOption {
      type = types.nullOr (value (if node ? "$ref" then node else removeAttrs node [ "description" ]));
      default = null;
      description = lib.replaceStrings [ "\n" ] [ " " ] node.description;
    };

  submodule =
    options:
    types.submodule {
      freeformType = freeform;
      inherit options;
    };

  table = properties: submodule (lib.mapAttrs (_: leaf) properties);

  section =
    type: node:
    mkOption {
      inherit type;
      default = { };
      inherit (resolve node) description;
    };

  sectionOf =
    name: reference:
    let
      node = resolve reference;
      entry = resolve node.additionalProperties;
      protocolOr =
        property:
        if property ? "$ref" then section (table (resolve property).properties) property else leaf property;
    in
    if !node ? properties then
      section (types.attrsOf (
        if entry ? properties then table entry.properties else types.nullOr (value entry)
      )) node
    else if name == "timeouts" then
      section (submodule (lib.mapAttrs (_: protocolOr) node.properties)) node
    else
      section (table node.properties) node;
in
submodule (
  lib.mapAttrs sectionOf (removeAttrs schema.properties [ "version" ])
  // {
    version = leaf schema.properties.version // {
      default = 1;
    };
  }
)
