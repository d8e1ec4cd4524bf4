# shellcheck shell=bash
# Every kind of flow passes the router and is tracked as what it is: the ground that the others stand on
# Runs in: box

scenario() {
    router_up
    hold live established 3
    hold live6 established6 2
    hold nat dnat 2
    hold half half_closed 1
    hold dns dns 2
    flows time_wait 4
    flows close 2
    flows syn_sent 2
    flows unreplied 3
    equal "established over IPv4, translated ones with them" 5 entries -p tcp --state ESTABLISHED -f ipv4 -u ASSURED
    equal "established over IPv6" 2 entries -p tcp --state ESTABLISHED -f ipv6
    equal "destination-translated streams" 2 entries -p tcp --orig-dst 10.77.1.1
    equal "half closed" 1 entries -p tcp --state CLOSE_WAIT
    expect "closed ones" test "$(entries -p tcp --state TIME_WAIT -f ipv4)" -ge 4
    equal "reset ones" 2 entries -p tcp --state CLOSE
    equal "half-open ones" 2 entries -p tcp --state SYN_SENT
    equal "unreplied datagrams" 3 entries -p udp --orig-dst 10.77.2.200
    equal "answered by the first backend" 2 entries -p udp --reply-src 10.77.2.2
    router_moves_dns
    local name
    for name in live live6 nat half dns; do
        expect "$name flows live" grep ' 0 broken' <(ask $name)
    done
}
