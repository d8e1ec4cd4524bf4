# In the place of nixpkgs, with its `lib` beside this file: enough to look at the shape of the flake's outputs.
{
  outputs =
    { self }:
    let
      fake =
        system: name:
        derivation {
          inherit name system;
          builder = "/bin/false";
        }
        // {
          meta.mainProgram = name;
        };
      packages =
        system:
        lib.genAttrs [
          "cargo-deny"
          "clippy"
          "conntrack-tools"
          "deadnix"
          "iproute2"
          "jq"
          "nftables"
          "nixfmt-rfc-style"
          "nixfmt-tree"
          "rust-analyzer"
          "rustfmt"
          "strace"
        ] (fake system)
        // {
          callPackage =
            path: arguments:
            let
              package = import path;
              given = {
                inherit lib;
                stdenv = {
                  buildPlatform.canExecute = _: true;
                  hostPlatform = { };
                };
                installShellFiles = fake system "install-shell-files";
                versionCheckHook = fake system "version-check-hook";
                rustPlatform.buildRustPackage =
                  make:
                  let
                    attributes = make attributes;
                  in
                  fake system attributes.pname
                  // {
                    inherit (attributes) meta src;
                  };
              };
            in
            package (builtins.intersectAttrs (builtins.functionArgs package) given // arguments);
          mkShell = _: fake system "shell";
          testers.runNixOSTest = test: fake system test.name;
        };
      lib = import ./lib // {
        nixosSystem =
          { modules }:
          {
            config.environment.etc."conntidy/policy.toml".source =
              fake
                (lib.findFirst (module: module ? nixpkgs) null (lib.filter lib.isAttrs modules))
                .nixpkgs.hostPlatform
                "conntidy-policy.toml";
          };
      };
    in
    {
      inherit lib;
      legacyPackages = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] packages;
    };
}
