{
  description = "Keeps a Linux connection tracking table the way a declarative policy says";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem = make: lib.genAttrs systems (system: make system nixpkgs.legacyPackages.${system});

      examples = {
        nat-router = ./nix/examples/nat-router.nix;
        k3s-node = ./nix/examples/k3s-node.nix;
        wireguard-concentrator = ./nix/examples/wireguard-concentrator.nix;
      };

      # A whole system of an example is much to build; its policy, which `conntidy check` has seen, is not.
      policyOf =
        system: example:
        (lib.nixosSystem {
          modules = [
            self.nixosModules.default
            example
            {
              nixpkgs.hostPlatform = system;
              system.stateVersion = "26.05";
            }
          ];
        }).config.environment.etc."conntidy/policy.toml".source;
    in
    {
      overlays.default = import ./nix/overlay.nix;

      nixosModules.default = import ./nix/module;

      packages = eachSystem (
        _: pkgs: rec {
          conntidy = pkgs.callPackage ./nix/package.nix { };
          default = conntidy;
        }
      );

      checks = eachSystem (
        system: pkgs:
        lib.mapAttrs' (name: example: lib.nameValuePair "policy-${name}" (policyOf system example)) examples
        // {
          package = self.packages.${system}.conntidy;
          vm = pkgs.testers.runNixOSTest (import ./nix/tests/vm.nix self.nixosModules.default);
          container = pkgs.testers.runNixOSTest (import ./nix/tests/container.nix self.nixosModules.default);
        }
      );

      devShells = eachSystem (
        system: pkgs: {
          default = pkgs.mkShell {
            inputsFrom = [ self.packages.${system}.conntidy ];
            packages = with pkgs; [
              cargo-deny
              clippy
              conntrack-tools
              deadnix
              iproute2
              jq
              nftables
              nixfmt-rfc-style
              rust-analyzer
              rustfmt
              strace
            ];
          };
        }
      );

      formatter = eachSystem (_: pkgs: pkgs.nixfmt-tree);
    };
}
