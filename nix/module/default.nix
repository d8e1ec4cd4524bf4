# NixOS module: services.conntidy. How to use it: docs/nixos.md.
{
  imports = [
    ./options.nix
    ./units.nix
    ./guards.nix
  ];
}
