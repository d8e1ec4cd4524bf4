# Which of many values each key of the settings takes: { path = [ ... ]; value = ...; } -> bool.
{
  nixpkgs,
  lib ? import (nixpkgs + "/lib"),
  samples,
}:

let
  settings = import ../module/schema.nix {
    inherit lib;
    schema = lib.importJSON ../policy-schema.json;
    freeform = lib.types.attrsOf lib.types.anything;
  };
  accepts =
    { path, value }:
    let
      evaluated = lib.evalModules {
        modules = [
          { options.settings = lib.mkOption { type = settings; }; }
          { settings = lib.setAttrByPath path value; }
        ];
      };
    in
    (builtins.tryEval (
      builtins.deepSeq (lib.getAttr (builtins.head path) evaluated.config.settings) true
    )).success;
in
map accepts (lib.importJSON samples)
