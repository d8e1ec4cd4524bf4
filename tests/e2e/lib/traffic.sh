# shellcheck shell=bash
# Three hosts: client (10.77.1.2), a NAT router, server (10.77.2.2, 10.77.2.3). Real packets, real NAT.
# The router is this machine's own network namespace, or another by name: `router_up blue` names the hosts blue-client and
# blue-server.

FLOWS=/e2e/lib/flows.py

# in_router COMMAND, in_client COMMAND, in_server COMMAND
in_router() { if [ -n "$ROUTER" ]; then ip netns exec "$ROUTER" "$@"; else "$@"; fi; }
in_client() { ip netns exec "${ROUTER:+$ROUTER-}client" "$@"; }
in_server() { ip netns exec "${ROUTER:+$ROUTER-}server" "$@"; }
ROUTER=''

# router_up [NAMESPACE]
router_up() {
    ROUTER=${1:-}
    local client=${ROUTER:+$ROUTER-}client server=${ROUTER:+$ROUTER-}server host
    if [ -n "$ROUTER" ] && [ ! -e "/run/netns/$ROUTER" ]; then ip netns add "$ROUTER"; fi
    for host in "$client" "$server"; do
        ip netns add "$host"
        ip -n "$host" link set lo up
    done
    in_router ip link set lo up
    in_router ip link add in0 type veth peer name eth0 netns "$client"
    in_router ip link add out0 type veth peer name eth0 netns "$server"
    in_router ip addr add 10.77.1.1/24 dev in0
    in_router ip addr add 10.77.2.1/24 dev out0
    in_router ip addr add fd77:1::1/64 dev in0 nodad
    in_router ip addr add fd77:2::1/64 dev out0 nodad
    in_client ip addr add 10.77.1.2/24 dev eth0
    in_client ip addr add fd77:1::2/64 dev eth0 nodad
    in_server ip addr add 10.77.2.2/24 dev eth0
    in_server ip addr add 10.77.2.3/24 dev eth0
    in_server ip addr add fd77:2::2/64 dev eth0 nodad
    in_router ip link set in0 up
    in_router ip link set out0 up
    in_client ip link set eth0 up
    in_server ip link set eth0 up
    in_client ip route add default via 10.77.1.1
    in_server ip route add default via 10.77.2.1
    in_client ip -6 route add default via fd77:1::1
    in_server ip -6 route add default via fd77:2::1
    in_router sysctl --quiet --write net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
    in_router nft --file - <<'RULES'
table ip nat {
    chain prerouting {
        type nat hook prerouting priority dstnat
        iifname "in0" ip daddr 10.77.1.1 tcp dport 8080 dnat to 10.77.2.2:9000
        iifname "in0" ip daddr 10.77.1.1 udp dport 53 dnat to 10.77.2.2
    }
    chain postrouting {
        type nat hook postrouting priority srcnat
        oifname "out0" ip saddr 10.77.1.0/24 masquerade
    }
}
table inet filter {
    chain forward {
        type filter hook forward priority filter
        ct state established,related accept
    }
}
RULES
    # Nobody answers on this port.
    in_server nft 'add table ip silent; add chain ip silent input { type filter hook input priority 0; }; add rule ip silent input tcp dport 81 drop'
    server_up
    in_client python3 "$FLOWS" reach || { failed "no traffic passes the router" && return 1; }
}

# A new backend behind the router's port 53: what it answered before still goes to the old one.
router_moves_dns() {
    in_router nft flush chain ip nat prerouting
    in_router nft 'add rule ip nat prerouting iifname "in0" ip daddr 10.77.1.1 udp dport 53 dnat to 10.77.2.3'
}

traffic_processes=()

server_up() {
    local ready
    ready=$(mktemp --dry-run)
    mkfifo "$ready"
    ip netns exec "${ROUTER:+$ROUTER-}server" python3 "$FLOWS" serve >"$ready" 2>/dev/null </dev/null &
    traffic_processes+=($!)
    read -r _ <"$ready"
    rm "$ready"
}

# flows KIND [COUNT]: makes them and is done with it
flows() { in_client python3 "$FLOWS" "$@"; }

# hold NAME KIND [COUNT]: makes them and keeps them; `ask NAME` has each say something and hear it back
hold() {
    local name=$1 ready
    shift
    ready=/tmp/flows-$name
    mkfifo "$ready.in" "$ready.out"
    ip netns exec "${ROUTER:+$ROUTER-}client" python3 "$FLOWS" "$@" <"$ready.in" >"$ready.out" &
    traffic_processes+=($!)
    exec {into}>"$ready.in" {from}<"$ready.out"
    declare -g "into_$name=$into" "from_$name=$from"
    local line
    read -r -t 60 line <&"$from" || line=nothing
    [ "$line" = HOLD ] || failed "$* could not be made: $line"
}

# ask NAME: prints how its flows fare: "N alive, M broken"
ask() {
    local into=into_$1 from=from_$1 line
    echo >&"${!into}"
    read -r -t 60 line <&"${!from}" && echo "$line"
}

traffic_end() {
    local process
    for process in "${traffic_processes[@]}"; do kill "$process" 2>/dev/null || :; done
}

# entries [conntrack's filters]: how many the router's table has, by conntrack
entries() { in_router conntrack -L "$@" 2>/dev/null | wc -l; }
