# Sourced by the other scripts: the Rust toolchain, a C compiler, cargo-deny, what tests build networks with.

# Fails with the remedy when the toolchain is missing; installs the C compiler from Debian when it can.
need_toolchain() {
  if ! command -v cargo >/dev/null 2>&1 && [ -f "$HOME/.cargo/env" ]; then
    . "$HOME/.cargo/env"
  fi
  if ! command -v cargo >/dev/null 2>&1; then
    echo "cargo (Rust 1.90 or newer) not found. Install it as the user who builds, then run this again:" >&2
    echo "  apt-get install -y curl ca-certificates && curl -sSf https://sh.rustup.rs | sh -s -- -y" >&2
    exit 1
  fi
  local have
  have=$(rustc --version | sed -E 's/^rustc 1\.([0-9]+).*/\1/')
  if [ "$have" -lt 90 ] 2>/dev/null; then
    echo "rustc 1.$have is too old: 1.90 or newer is needed (rustup update)" >&2
    exit 1
  fi
  if ! command -v cc >/dev/null 2>&1; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev
  fi
}

# Runs a command as root, through sudo where we are not.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    echo "this needs root or sudo: $*" >&2
    exit 1
  fi
}

# rustfmt and clippy: a minimal rustup profile lacks them.
need_lints() {
  if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    rustup component add rustfmt clippy || {
      echo "rustfmt and clippy are needed: rustup component add rustfmt clippy" >&2
      exit 1
    }
  fi
}

CARGO_DENY_VERSION=0.20.2
need_cargo_deny() {
  if ! cargo deny --version >/dev/null 2>&1; then
    echo "installing cargo-deny $CARGO_DENY_VERSION (once, a few minutes)"
    cargo install --quiet --locked cargo-deny --version "$CARGO_DENY_VERSION"
  fi
}

# Some tests run workers in a network namespace of their own.
need_network_tools() {
  local path="$PATH:/usr/sbin:/sbin"
  if ! PATH=$path command -v ip >/dev/null 2>&1 || ! PATH=$path command -v iptables >/dev/null 2>&1; then
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends iproute2 iptables
  fi
}
