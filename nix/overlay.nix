final: _prev: {
  conntidy = final.callPackage ./package.nix { };
}
