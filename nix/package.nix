{
  lib,
  stdenv,
  rustPlatform,
  installShellFiles,
  versionCheckHook,
}:

let
  inherit (lib) fileset;
  runs = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
in
rustPlatform.buildRustPackage (_finalAttrs: {
  pname = "conntidy";
  inherit ((lib.importTOML ../Cargo.toml).package) version;

  src = fileset.toSource {
    root = ../.;
    fileset = fileset.unions [
      ../Cargo.lock
      ../Cargo.toml
      ../README.md
      # Manual pages are made of it.
      ../docs
      ../examples
      ../src
      # Cargo wants every target that Cargo.toml names.
      ../tests
      ../systemd
    ];
  };

  cargoLock.lockFile = ../Cargo.lock;

  # All other tests need user and network namespaces, which the build's sandbox may not have.
  cargoTestFlags = [ "--lib" ];

  nativeBuildInputs = [ installShellFiles ];

  postInstall = ''
    install -Dm644 -t $out/lib/systemd/system systemd/*.service systemd/*.timer
    substituteInPlace $out/lib/systemd/system/*.service --replace-fail /usr/bin/conntidy $out/bin/conntidy
    install -Dm644 -t $out/lib/udev/rules.d systemd/*.rules
    install -Dm644 systemd/conntidy.sysusers.conf $out/lib/sysusers.d/conntidy.conf
    install -Dm644 systemd/conntidy.tmpfiles.conf $out/lib/tmpfiles.d/conntidy.conf
    install -Dm644 -t $out/lib/systemd/catalog systemd/*.catalog
  ''
  + lib.optionalString runs ''
    for shell in bash fish zsh; do
      $out/bin/conntidy completions $shell >conntidy.$shell
    done
    installShellCompletion --cmd conntidy --bash conntidy.bash --fish conntidy.fish --zsh conntidy.zsh
    $out/bin/conntidy man --out-dir manual
    installManPage manual/man*/*
  '';

  doInstallCheck = runs;
  nativeInstallCheckInputs = [ versionCheckHook ];

  meta = {
    description = "Keeps a Linux connection tracking table the way a declarative policy says";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "conntidy";
    platforms = lib.platforms.linux;
  };
})
