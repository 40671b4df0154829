# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_sipknock_global_optspecs
    string join \n config= log-format= v/verbose h/help V/version
end

function __fish_sipknock_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_sipknock_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_sipknock_using_subcommand
    set -l cmd (__fish_sipknock_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c sipknock -n "__fish_sipknock_needs_command" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_needs_command" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_needs_command" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_needs_command" -s V -l version -d 'Print version'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "run" -d 'Decide queued packets: accept sources that knock, drop all others'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "replay" -d 'Decide every packet of a capture as \'run\' would'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "learn" -d 'List the values that each phone already sends and that would serve as a knock'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "check" -d 'Validate the configuration, and warn of weak knocks'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "firewall" -d 'Print, put in or take out the iptables rules that queue SIP packets'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "doctor" -d 'Prove that strangers are kept out and phones get in on this machine, or name the faults'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "doors" -d 'List, open and close the doors of the running gate'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "stats" -d 'Show the counters of the running gate'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "watch" -d 'Print the events of the running gate as they happen'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "reload" -d 'Make the running gate read its configuration again, as SIGHUP does'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "enforce" -d 'Make the running gate drop strangers now, before the end of its grace or after it'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "keygen" -d 'Make a strong knock that a phone\'s keypad can type'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "bench" -d 'Measure how fast sipknock and other engines find knocks on this machine'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "setup" -d 'Set this machine up: find the PBX, write the configuration, start the gate'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "complete" -d 'Print names for a shell to offer'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "generate" -d 'Write man pages and shell completions to a folder'
complete -c sipknock -n "__fish_sipknock_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l learn -d 'Write the values that phones send and that would serve as a knock, at the end and on SIGUSR1: as configuration to a file whose name ends in .toml, as JSON for .json, else as text; - or nothing for standard output' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l grace -d 'Accept everything for that long at first, as in 1h. Then drop strangers, if all phones that have registered have knocked; otherwise list those that have not, and keep accepting everything until \'sipknock enforce\'' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l control -d 'The control socket, through which \'sipknock doors\' and others reach this gate; off: none' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l state -d 'The file that keeps doors over a restart; off: none' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l http -d 'The address of metrics and status page, as in 127.0.0.1:9470; off: none' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l user -d 'The user to become once the queues are bound, if root starts it; root: stay root' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l firewall -d 'Put the firewall rules in at the start, and take them out at a clean exit'
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l takeover -d 'Take queues and doors over from the gate with the same control socket, without losing a packet; that one ends once this one is ready. If none runs, start as usual'
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -l allow-readable-secrets -d 'Only warn if others can read a file that holds secrets'
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l pbx -d 'An address or network of the PBX: packets from there are its own, and its requests open doors; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l hook -d 'The hook whose packets are decided' -r -f -a "input\t'Fragments are put together first, as in front of INPUT'
forward\t'Each fragment is a packet of its own, as in FORWARD without conntrack'"
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l tunnels -d 'Decode GRE, IPIP, VXLAN, Geneve and GTP, as if these tunnels ended at the gate'
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -l json -d 'Print a JSON object per inspected packet, and one at the end'
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l port -d 'Ports that phones send to, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l tunnels -d 'Decode GRE, IPIP, VXLAN, Geneve and GTP, as a mirrored port may send them'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l toml -d 'Print ready `[[knock]]` tables for the configuration file'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l weak -d 'With --toml: also values that can be guessed, if a phone sends nothing better'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l all -d 'List strangers, too: senders without an accepted registration'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -l details -d 'Show all values that each phone sends, and the strength of each'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand learn" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l against -d 'Show for which packets of captures and messages of Asterisk logs each knock would open, and warn if that is not one phone' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l allow-readable-secrets -d 'Only warn if others can read a file that holds secrets'
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -f -a "print" -d 'Print the rules as commands, without running them'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -f -a "apply" -d 'Put the rules in, or bring them up to date'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -f -a "confirm" -d 'Keep the rules of \'firewall apply --confirm\', from another shell'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -f -a "remove" -d 'Take the rules out, and leave no trace'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -f -a "status" -d 'Say if the rules are in place, with their counters; exit status 1 if not'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -f -a "watch" -d 'Put the rules in, and put them back if another program removes them, until a signal; the service sipknock-rules does this, since the gate has no right to'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and not __fish_seen_subcommand_from print apply confirm remove status watch help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l chain -d 'A chain that packets to the PBX pass, instead of those of the configuration file: INPUT, or FORWARD or DOCKER-USER if it is behind this machine or in a container; repeatable' -r -f -a "(sipknock complete chains 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l pbx -d 'An address, network or interface of a PBX behind this machine, instead of those of the configuration file; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l restore -d 'Print a file for iptables-restore --noflush (ipv4) or ip6tables-restore --noflush (ipv6) instead' -r -f -a "ipv4\t'iptables'
ipv6\t'ip6tables'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l no-replies -d 'Without effect: no rule accepts replies without a decision'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from print" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l chain -d 'A chain that packets to the PBX pass, instead of those of the configuration file: INPUT, or FORWARD or DOCKER-USER if it is behind this machine or in a container; repeatable' -r -f -a "(sipknock complete chains 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l pbx -d 'An address, network or interface of a PBX behind this machine, instead of those of the configuration file; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l confirm -d 'Put everything back as it was, unless \'yes\' is typed or \'sipknock firewall confirm\' runs in that time' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l no-replies -d 'Without effect: no rule accepts replies without a decision'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -l move -d 'Take the rules out of chains that the configuration no longer names'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from confirm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from remove" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from remove" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from remove" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l chain -d 'A chain that packets to the PBX pass, instead of those of the configuration file: INPUT, or FORWARD or DOCKER-USER if it is behind this machine or in a container; repeatable' -r -f -a "(sipknock complete chains 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l pbx -d 'An address, network or interface of a PBX behind this machine, instead of those of the configuration file; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l no-replies -d 'Without effect: no rule accepts replies without a decision'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l control -d 'The control socket of the gate, to report the state of the rules to; off: no report' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "print" -d 'Print the rules as commands, without running them'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "apply" -d 'Put the rules in, or bring them up to date'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "confirm" -d 'Keep the rules of \'firewall apply --confirm\', from another shell'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Take the rules out, and leave no trace'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "status" -d 'Say if the rules are in place, with their counters; exit status 1 if not'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "watch" -d 'Put the rules in, and put them back if another program removes them, until a signal; the service sipknock-rules does this, since the gate has no right to'
complete -c sipknock -n "__fish_sipknock_using_subcommand firewall; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l knock -d 'A knock; repeatable' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l port -d 'Ports to inspect, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l door -d 'The time that a door stays open after a knock, as in 4000s; expires: as long as the registration lives' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l trust -d 'A network that passes without a knock; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l queue -d 'NFQUEUE numbers, as in 0 or 0-3' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l backend -d 'The way to read packets from the kernel: batched or nfq' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l chain -d 'A chain that packets to the PBX pass, instead of those of the configuration file: INPUT, or FORWARD or DOCKER-USER if it is behind this machine or in a container; repeatable' -r -f -a "(sipknock complete chains 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l pbx -d 'An address, network or interface of a PBX behind this machine, instead of those of the configuration file; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l monitor -d 'Accept everything, and log what would be dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l no-replies -d 'Without effect: no rule accepts replies without a decision'
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -l probe -d 'Send real packets, too: a gate of its own must drop a stranger\'s and pass a knock'
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -l knock -d 'Only doors that this knock holds; manual: those opened by hand; outbound: those of sources that the PBX has called' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -l source -d 'Only doors of sources in this network' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -l sort -d 'The column to sort by' -r -f -a "source\t'By address'
knock\t'By the name of the knock'
opened\t'Oldest first'
last-knock\t'The longest time since the last knock first'
expires\t'The one that closes next first'
packets\t'The busiest first'
bytes\t'The busiest first'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -l json -d 'Print a JSON object per door'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -f -a "list" -d 'List the open doors'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -f -a "open" -d 'Open a door for an address, or keep it open for longer'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -f -a "close" -d 'Close a door: the next packet of that address is dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -f -a "flush" -d 'Close all doors'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and not __fish_seen_subcommand_from list open close flush help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -l knock -d 'Only doors that this knock holds; manual: those opened by hand; outbound: those of sources that the PBX has called' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -l source -d 'Only doors of sources in this network' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -l sort -d 'The column to sort by' -r -f -a "source\t'By address'
knock\t'By the name of the knock'
opened\t'Oldest first'
last-knock\t'The longest time since the last knock first'
expires\t'The one that closes next first'
packets\t'The busiest first'
bytes\t'The busiest first'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -l json -d 'Print a JSON object per door'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -l for -d 'The time that it stays open, as in 1h or 90m; the default is that of the configuration' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -l knock -d 'The knock that holds it, as if it had come' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from open" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from close" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from close" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from close" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from close" -l mark -d 'Also keep requests of the PBX from opening a door for it; always done if a knock holds the door'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from close" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from close" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from close" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from flush" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from flush" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from flush" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from flush" -s y -l yes -d 'Do not ask; without a terminal it does not ask either'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from flush" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from flush" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from flush" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from help" -f -a "list" -d 'List the open doors'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from help" -f -a "open" -d 'Open a door for an address, or keep it open for longer'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from help" -f -a "close" -d 'Close a door: the next packet of that address is dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from help" -f -a "flush" -d 'Close all doors'
complete -c sipknock -n "__fish_sipknock_using_subcommand doors; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipknock -n "__fish_sipknock_using_subcommand stats" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand stats" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand stats" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand stats" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand stats" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand watch" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand watch" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand watch" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand watch" -l json -d 'Print a JSON object per event, with the fields of the log'
complete -c sipknock -n "__fish_sipknock_using_subcommand watch" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand reload" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand reload" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand reload" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand reload" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand reload" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand enforce" -l control -d 'The control socket of the running gate, if it is not the one of the configuration' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand enforce" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand enforce" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand enforce" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand enforce" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand enforce" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l alphabet -d 'The characters of the secret' -r -f -a "keypad\t'Letters that need one press each on a keypad, and never the same key twice in a row'
digits\t'Digits'
alnum\t'Small letters and digits, without those that look alike'
hex\t'Hexadecimal digits'"
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l bits -d 'Its strength: 2 to the power of this many tries' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -s n -l count -d 'The number of secrets' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l name -d 'Name the knock; several are numbered' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l in -d 'The place where the phone sends it, as `in` of the configuration: from-display-name, contact-instance, header:NAME and others. The default with --toml and the keypad\'s letters is the display name. A place that can be the secret alone is written with match = "whole"' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l toml -d 'Print ready `[[knock]]` tables for the configuration file'
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -l json -d 'Print a JSON object per knock'
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l capture -d 'Search the payloads that these captures have for inspected ports, instead of generated REGISTERs; - for standard input' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l port -d 'With --capture: ports that are inspected, as in 5060,5061-5063' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l knocks -d 'Numbers of knocks, up to 100000; several are measured one after the other' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l style -d 'Styles of the knocks' -r -f -a "random\t'20 small letters'
uuid\t'urn:uuid: and a random UUID, as phones send it in +sip.instance'
words\t'Such as Blue-Window-Teacher-42'
config\t'The knocks of the configuration'"
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l engine -d 'The engines to measure' -r -f -a "all\t''
sipknock\t''
sipknock-memmem\t''
sipknock-teddy\t''
sipknock-automaton\t''
sipknock-filter\t''
aho-corasick-standard\t''
aho-corasick-leftmost-first\t''
aho-corasick-nfa\t''
aho-corasick-dfa\t''
teddy\t''
daachorse\t''
memmem\t''
vectorscan\t''"
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l rounds -d 'The number of rounds; the median counts' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l cpu -d 'The core to run on; the default is the last one' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l plot -d 'Draw nanoseconds per packet over the number of knocks; several styles have a file each, as in FILE-random.svg' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l ignore-case -d 'Letters of all knocks match in either case'
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l quick -d 'One short round, to see that it works: its figures mean nothing'
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l markdown -d 'Print a Markdown table for each style'
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -l json -d 'Print a JSON object'
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l port -d 'Ports on which the PBX takes SIP, as in 5060,5061-5063; else those on which one listens' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l trust -d 'Lets a network pass without a knock, beside those that do so already; or a name, whose addresses are written down; own stands for the networks of this machine, none for nothing at all; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l knock -d 'A knock; repeatable. Else one is made, if there is none yet' -r -f -a "(sipknock complete knocks 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l from -d 'A list of phones, one knock for each: lines of a name, or of a name and a secret, with a comma between' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l learned -d 'A file of knocks as \'sipknock learn --toml\' prints it' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l grace -d 'How long everything passes at first, as in 24h, while the gate sees which phones knock; 0s: strangers are dropped at once' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l chain -d 'A chain that packets to the PBX pass: INPUT, FORWARD, DOCKER-USER; repeatable' -r -f -a "(sipknock complete chains 2>/dev/null)"
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l pbx -d 'An address, network or interface of a PBX behind this machine or in a container; repeatable' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l user -d 'As whom the gate runs; root: as root, with files that root alone reads' -r
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -s y -l yes -d 'Ask nothing, and take what flags say and what is proposed; only networks of --trust are trusted'
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l no-start -d 'Write the files, and start nothing'
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l dry-run -l print -d 'Show what --yes would do, and do nothing; it asks nothing'
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -l json -d 'Print a JSON object at the end; questions go to stderr'
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand complete" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand complete" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand complete" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand complete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand generate" -l config -d 'The configuration file; the default one, /etc/sipknock/sipknock.toml, need not exist' -r -F
complete -c sipknock -n "__fish_sipknock_using_subcommand generate" -l log-format -d 'Format of the log' -r -f -a "text\t'Lines for people, on stderr'
json\t'An object per line, on stderr, with the event\'s fields at its top level'
journald\t'Structured, to systemd\'s journal'"
complete -c sipknock -n "__fish_sipknock_using_subcommand generate" -s v -l verbose -d 'More detail in the log; twice for all of it'
complete -c sipknock -n "__fish_sipknock_using_subcommand generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "run" -d 'Decide queued packets: accept sources that knock, drop all others'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "replay" -d 'Decide every packet of a capture as \'run\' would'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "learn" -d 'List the values that each phone already sends and that would serve as a knock'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "check" -d 'Validate the configuration, and warn of weak knocks'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "firewall" -d 'Print, put in or take out the iptables rules that queue SIP packets'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "doctor" -d 'Prove that strangers are kept out and phones get in on this machine, or name the faults'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "doors" -d 'List, open and close the doors of the running gate'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "stats" -d 'Show the counters of the running gate'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "watch" -d 'Print the events of the running gate as they happen'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "reload" -d 'Make the running gate read its configuration again, as SIGHUP does'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "enforce" -d 'Make the running gate drop strangers now, before the end of its grace or after it'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "keygen" -d 'Make a strong knock that a phone\'s keypad can type'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "bench" -d 'Measure how fast sipknock and other engines find knocks on this machine'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "setup" -d 'Set this machine up: find the PBX, write the configuration, start the gate'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "complete" -d 'Print names for a shell to offer'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "generate" -d 'Write man pages and shell completions to a folder'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and not __fish_seen_subcommand_from run replay learn check firewall doctor doors stats watch reload enforce keygen bench setup complete generate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "print" -d 'Print the rules as commands, without running them'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "apply" -d 'Put the rules in, or bring them up to date'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "confirm" -d 'Keep the rules of \'firewall apply --confirm\', from another shell'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "remove" -d 'Take the rules out, and leave no trace'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "status" -d 'Say if the rules are in place, with their counters; exit status 1 if not'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from firewall" -f -a "watch" -d 'Put the rules in, and put them back if another program removes them, until a signal; the service sipknock-rules does this, since the gate has no right to'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from doors" -f -a "list" -d 'List the open doors'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from doors" -f -a "open" -d 'Open a door for an address, or keep it open for longer'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from doors" -f -a "close" -d 'Close a door: the next packet of that address is dropped'
complete -c sipknock -n "__fish_sipknock_using_subcommand help; and __fish_seen_subcommand_from doors" -f -a "flush" -d 'Close all doors'
