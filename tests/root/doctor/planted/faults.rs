//! The table of faults, each with the way to plant it.

use std::time::Duration;

use rustix::process::Signal;
use sipknock::queue::{Backend, QueueOptions};

use super::*;

const NONE: &[&str] = &[];
const APPLY: &str = "firewall apply";

/// A fault of the rules, planted by commands.
macro_rules! rules {
    ($name:literal, $script:literal, [$($found:expr),+], $mend:expr, $mends:literal) => {
        Fault {
            name: $name,
            plant: || {
                let patient = Patient::sound();
                patient.sh($script);
                patient
            },
            args: NONE,
            found: &[$($found),+],
            mend: $mend,
            mends: $mends,
        }
    };
}

pub(in crate::doctor) static FAULTS: [Fault; 50] = [
    rules!("rules_absent", "sipknock firewall remove", [("rules-absent", "fault")], APPLY, true),
    rules!(
        "ipv6_rules_absent",
        "ip6tables -F; ip6tables -X",
        [("rules-absent", "fault")],
        APPLY,
        true
    ),
    rules!("a_jump_deleted", "iptables -D INPUT 2", [("rules-differ", "fault"), ("not-reached", "fault")], APPLY, true),
    rules!("a_rule_added_to_our_chain", "iptables -I SIPKNOCK 1 -j ACCEPT", [("rules-differ", "fault")], APPLY, true),
    rules!(
        "accept_for_the_port_before_ours",
        "iptables -I INPUT 1 -p udp --dport 5060 -j ACCEPT",
        [("accepted-before", "fault")],
        APPLY,
        true
    ),
    rules!("accept_for_everything_before_ours", "ip6tables -I INPUT 1 -j ACCEPT", [("accepted-before", "fault")], APPLY, true),
    rules!(
        "accept_in_a_chain_before_ours",
        "iptables -N MINE; iptables -A MINE -p tcp -m multiport --dports 80,5000:6000 -j ACCEPT; iptables -I INPUT 1 -j MINE",
        [("accepted-before", "fault")],
        APPLY,
        true
    ),
    rules!(
        "established_shortcut_before_ours",
        "iptables -I INPUT 1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        [("established-before", "fault")],
        APPLY,
        true
    ),
    rules!("drop_before_ours", "iptables -I INPUT 1 -p udp -j DROP", [("dropped-before", "fault")], APPLY, true),
    rules!("another_queue_before_ours", "iptables -I INPUT 1 -j NFQUEUE --queue-num 9", [("queued-before", "fault")], APPLY, true),
    rules!(
        "drop_in_table_raw",
        "iptables -t raw -A PREROUTING -p udp --dport 5060 -m comment --comment \"it's mine\" -j DROP",
        [("dropped-before", "fault")],
        "iptables -t raw -D PREROUTING",
        true
    ),
    rules!(
        "drop_behind_the_gate",
        "iptables -t security -A INPUT -p tcp --dport 5060 -j DROP",
        [("dropped-behind", "fault")],
        "iptables -t security -D INPUT",
        true
    ),
    rules!(
        "policy_of_the_other_iptables",
        "iptables-legacy -P INPUT DROP",
        [("dropped-behind", "fault")],
        "iptables-legacy -t filter -P INPUT ACCEPT",
        true
    ),
    rules!(
        "ufw_above_ours",
        "iptables -N ufw-before-input; iptables -N ufw-user-input
         iptables -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
         iptables -A ufw-before-input -j ufw-user-input
         iptables -A ufw-user-input -p udp -m udp --dport 5060 -j ACCEPT
         iptables -I INPUT 1 -j ufw-before-input",
        [("accepted-before", "fault"), ("established-before", "fault"), ("manager", "note")],
        APPLY,
        true
    ),
    rules!(
        "freepbx_above_ours",
        "iptables -N fpbxfirewall; iptables -N fpbxsignalling
         iptables -A fpbxfirewall -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
         iptables -A fpbxfirewall -p udp -m udp --dport 5060 -j fpbxsignalling
         iptables -A fpbxsignalling -j MARK --set-xmark 0x1/0xffffffff
         iptables -A fpbxsignalling -m recent --rcheck --seconds 60 --name REPEAT --rsource -j DROP
         iptables -A fpbxsignalling -j ACCEPT
         iptables -I INPUT 1 -j fpbxfirewall",
        [("established-before", "fault"), ("accepted-before", "fault"), ("manager", "note")],
        // Which puts nothing in where that would be taken out again.
        "firewall print   # FreePBX's firewall is here",
        false
    ),
    rules!(
        "docker_publishes_the_port",
        "iptables -N DOCKER-USER; iptables -t nat -N DOCKER
         iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
         iptables -t nat -A DOCKER ! -i docker0 -p udp -m udp --dport 5060 -j DNAT --to-destination 172.17.0.2:5060",
        [("sent-elsewhere", "fault"), ("manager", "note")],
        "chains = [\"INPUT\", \"DOCKER-USER\"], pbx = [\"172.17.0.2\"]",
        false
    ),
    rules!(
        "redirected_past_the_gate",
        "iptables -t nat -A PREROUTING -p udp --dport 5060 -j REDIRECT --to-ports 5260",
        [("redirected", "fault")],
        "add 5260 to `ports`",
        false
    ),
    Fault {
        name: "a_trusted_name_with_another_address",
        plant: || {
            let names = "trusted_names = { \"sip.provider.example\" = [\"192.0.2.66\"] }";
            let patient = Patient::with(names, "", &[]);
            patient.stand_in("getent", "echo \"192.0.2.77 STREAM $2\"");
            patient
        },
        args: NONE,
        found: &[("trusted-name-changed", "warning")],
        mend: "setup --yes --trust sip.provider.example",
        mends: true,
    },
    Fault {
        name: "firewalld_without_the_port",
        plant: || {
            let patient = Patient::sound();
            patient.stand_in("nft", &format!("cat <<'END'\n{FIREWALLD}\nEND"));
            patient
        },
        args: NONE,
        found: &[("dropped-behind", "fault"), ("manager", "note")],
        mend: "firewall-cmd --permanent --add-port=5060/udp",
        mends: false,
    },
    Fault {
        name: "a_knock_that_anybody_guesses",
        plant: || {
            let patient = Patient::sound();
            let text = fs::read_to_string(&patient.config).unwrap();
            // The gate takes it: a reload keeps no phone out.
            fs::write(&patient.config, text.replace(SECRET, "adgjmptwad")).unwrap();
            patient.sh(&format!("sipknock --config {} reload", patient.config));
            patient
        },
        args: NONE,
        found: &[("guessable-knock", "fault")],
        mend: "give knock \"alice\" a secret of 'sipknock keygen'",
        mends: false,
    },
    Fault {
        name: "a_knock_that_is_guessed_in_an_hour",
        plant: || {
            let patient = Patient::sound();
            let text = fs::read_to_string(&patient.config).unwrap();
            fs::write(&patient.config, text.replace(SECRET, "470718352649")).unwrap();
            patient.sh(&format!("sipknock --config {} reload", patient.config));
            patient
        },
        args: NONE,
        found: &[("weak-knock", "warning")],
        mend: " check",
        mends: false,
    },
    Fault {
        name: "nobody_on_the_queue",
        plant: || {
            let mut patient = Patient::sound();
            patient.gate.take().unwrap().stop();
            patient
        },
        args: NONE,
        found: &[("nobody-on-queue", "fault")],
        mend: " run",
        mends: false,
    },
    Fault {
        name: "another_program_on_the_queue",
        plant: || {
            let mut patient = Patient::sound();
            patient.gate.take().unwrap().stop();
            let options =
                QueueOptions {
                    queue: 0,
                    max_len: 9,
                    receive_buffer: 4096,
                    overload_open: false,
                    exit_open: false,
                    busy_poll: Duration::ZERO,
                };
            patient.queue = Some(patient.world.server.run(|| Backend::Batched.open(&options).unwrap()));
            patient
        },
        args: NONE,
        found: &[("foreign-queue", "fault")],
        mend: "numbers = \"1\"",
        mends: false,
    },
    Fault {
        name: "rules_for_another_queue",
        plant: || {
            let patient = Patient::with("", "numbers = \"3\"", &[]);
            patient.sh(&format!("sipknock --config {} firewall apply --queue 0", patient.config));
            patient
        },
        args: NONE,
        found: &[("wrong-queue", "fault")],
        mend: APPLY,
        mends: true,
    },
    Fault {
        name: "a_gate_that_hangs",
        plant: || {
            let patient = Patient::sound();
            patient.gate.as_ref().unwrap().halt();
            patient.world.client("198.51.100.7").send("waits");
            // Until it waits.
            patient.world.wait_for_row(0, |row| row[0] > 0);
            patient
        },
        args: NONE,
        found: &[("stopped", "fault"), ("stuck", "fault")],
        mend: "kill -CONT",
        mends: true,
    },
    Fault {
        name: "a_queue_that_overflowed",
        plant: || {
            let patient = Patient::with("", "max_len = 4", &[]);
            let gate = patient.gate.as_ref().unwrap();
            gate.halt();
            (0..20).for_each(|_| patient.world.client("198.51.100.7").send("waits"));
            patient.world.wait_for_row(0, |row| row[1] > 0);
            gate.signal(Signal::CONT);
            patient.world.wait_for_row(0, |row| row[0] == 0);
            patient
        },
        args: NONE,
        found: &[("queue-overflow", "warning")],
        mend: "max_len",
        mends: false,
    },
    Fault {
        name: "a_small_receive_buffer",
        plant: || {
            let patient = Patient::with("", "receive_buffer = \"64KiB\"", &[]);
            fs::write(&patient.config, knock()).unwrap();
            patient
        },
        args: NONE,
        // The gate's own configuration has another control socket.
        found: &[("receive-buffer", "warning"), ("unasked", "note")],
        mend: "systemctl restart sipknock",
        mends: false,
    },
    Fault {
        name: "a_pbx_on_another_port",
        plant: || {
            let mut patient = Patient::sound();
            patient.pbx("asterisk", 5160);
            patient
        },
        args: NONE,
        found: &[("port-not-inspected", "fault")],
        mend: "add 5160 to `ports`",
        mends: false,
    },
    Fault {
        name: "a_port_on_which_nobody_listens",
        plant: || Patient::with("ports = [6060]", "", &[]),
        args: NONE,
        // The trial's own socket is still on 5060.
        found: &[("nobody-listens", "warning"), ("port-not-inspected", "warning")],
        mend: "ss -lnptu",
        mends: false,
    },
    Fault {
        name: "secrets_that_others_can_read",
        plant: || {
            let patient = Patient::sound();
            patient.sh(&format!("chmod 644 {}", patient.config));
            patient
        },
        args: NONE,
        found: &[("readable-secrets", "fault")],
        mend: "chmod 0640",
        mends: true,
    },
    Fault {
        name: "a_gate_that_only_watches",
        plant: || Patient::with("", "", &["--monitor"]),
        args: NONE,
        found: &[("monitor", "fault")],
        mend: "run --takeover",
        mends: false,
    },
    Fault {
        name: "a_gate_that_only_watches_by_its_file",
        plant: || Patient::with("mode = \"monitor\"  # for now", "", &[]),
        args: NONE,
        found: &[("monitor", "fault")],
        mend: "sed -E -i",
        mends: true,
    },
    Fault {
        name: "a_grace",
        plant: || Patient::with("", "", &["--grace", "1h"]),
        args: NONE,
        found: &[("grace", "warning")],
        mend: " enforce",
        mends: true,
    },
    Fault {
        name: "a_grace_that_is_up",
        plant: || {
            let mut patient = Patient::with("", "", &["--grace", "1s"]);
            patient.gate.as_mut().unwrap().wait_for("grace", |event| event["phones"] == 0);
            patient
        },
        args: NONE,
        found: &[("grace", "fault")],
        mend: " enforce",
        mends: true,
    },
    Fault {
        name: "a_file_that_was_not_reloaded",
        plant: || {
            let patient = Patient::sound();
            edit(&patient, "[inspect]", "[inspect]\nmax_doors = 7");
            patient
        },
        args: NONE,
        found: &[("not-reloaded", "fault")],
        mend: " reload",
        mends: true,
    },
    Fault {
        name: "a_key_that_waits_for_a_restart",
        plant: || {
            let patient = Patient::sound();
            edit(&patient, "[queue]", "[queue]\nmax_len = 77");
            patient.sh(&format!("sipknock --config {} reload", patient.config));
            patient
        },
        args: NONE,
        found: &[("restart-needed", "warning")],
        mend: "run --takeover",
        mends: false,
    },
    Fault {
        name: "a_gate_of_another_file",
        plant: || {
            let mut patient = Patient::sound();
            let other = patient.world.path("other.toml");
            patient.sh(&format!("cp -p {} {other}", patient.config));
            patient.config = other;
            patient
        },
        args: NONE,
        found: &[("other-config", "fault")],
        mend: "/0.toml doctor",
        mends: false,
    },
    Fault {
        name: "a_flag_that_the_rules_know_nothing_of",
        plant: || Patient::with("", "", &["--trust", "192.0.2.0/24", "--port", "5060,5070"]),
        args: NONE,
        found: &[("gate-differs", "fault")],
        mend: "$EDITOR",
        mends: false,
    },
    Fault {
        name: "most_packets_from_one_place",
        plant: || from_one_address("198.51.100.9"),
        args: NONE,
        found: &[("one-source", "warning")],
        mend: "tcpdump",
        mends: false,
    },
    Fault {
        name: "most_packets_from_the_router",
        plant: || from_one_address("192.0.2.2"),
        args: NONE,
        found: &[("one-source", "fault")],
        mend: "tcpdump",
        mends: false,
    },
    Fault {
        name: "a_gate_in_another_namespace",
        plant: || {
            let mut patient = Patient::sound();
            patient.gate.take().unwrap().stop();
            let mut command = patient.world.clients.command(env!("CARGO_BIN_EXE_sipknock"));
            command.args(["--log-format", "json", "--config", &patient.config, "run", "--user", "root"]);
            let mut gate = Gate::spawn_command(command);
            gate.wait_for("started", |_| true);
            patient.gate = Some(gate);
            patient
        },
        args: NONE,
        found: &[("other-namespace", "fault")],
        mend: "nsenter -t",
        mends: false,
    },
    Fault {
        name: "a_listener_that_forward_leaves_out",
        plant: || forward(""),
        args: NONE,
        // The trial's own socket.
        found: &[("listens-past-rules", "warning")],
        mend: "chains = [\"INPUT\", \"FORWARD\"]",
        mends: false,
    },
    Fault {
        name: "docker_proxy_beside_rules_in_forward",
        plant: || {
            let mut patient = forward("ports = [5070]");
            patient.pbx("docker-proxy", 5070);
            patient
        },
        args: NONE,
        found: &[("listens-past-rules", "fault")],
        mend: "chains = [\"INPUT\", \"FORWARD\"]",
        mends: false,
    },
    Fault {
        name: "flows_that_are_offloaded",
        plant: || {
            let patient = forward("ports = [5070]");
            patient.stand_in("nft", &format!("cat <<'END'\n{OFFLOAD}\nEND"));
            patient
        },
        args: NONE,
        found: &[("flow-offload", "fault")],
        mend: "uci set firewall.@defaults[0].flow_offloading=0",
        mends: false,
    },
    Fault {
        name: "more_room_in_queues_than_in_conntrack",
        plant: || Patient::with("", "max_len = 40000000", &[]),
        args: NONE,
        found: &[("conntrack-room", "warning")],
        mend: "sysctl -p",
        mends: false,
    },
    Fault {
        name: "packets_that_others_took",
        plant: || {
            let patient = Patient::sound();
            patient.sh("iptables -I INPUT 1 -p udp -s 198.51.100.7 -j ACCEPT");
            (0..5).for_each(|_| patient.world.client("198.51.100.7").send("by the gate"));
            assert_eq!(patient.world.receive().as_deref(), Some("by the gate"));
            patient
        },
        args: NONE,
        found: &[("taken-before", "warning"), ("some-accepted-before", "note")],
        mend: APPLY,
        mends: true,
    },
    Fault {
        name: "no_nflog",
        plant: || {
            let patient = without("NFLOG");
            patient.sh(&format!("sipknock firewall remove; sipknock --config {} firewall apply", patient.config));
            patient
        },
        args: NONE,
        found: &[("no-outbound", "warning")],
        mend: "modprobe -a nfnetlink_log xt_NFLOG",
        mends: false,
    },
    Fault {
        name: "everybody_is_trusted",
        plant: || Patient::with("trusted = [\"0.0.0.0/0\"]", "", &[]),
        args: NONE,
        found: &[("everybody-trusted", "fault")],
        mend: "$EDITOR",
        mends: false,
    },
    Fault {
        name: "no_conntrack",
        plant: || without("conntrack"),
        args: NONE,
        found: &[("no-conntrack", "warning")],
        mend: "modprobe xt_conntrack",
        mends: false,
    },
    Fault {
        name: "no_nfqueue",
        plant: || without("NFQUEUE"),
        args: NONE,
        found: &[("no-nfqueue", "fault")],
        mend: "modprobe xt_NFQUEUE",
        mends: false,
    },
];

/// One that stands before the PBX, with rules in FORWARD alone.
fn forward(inspect: &str) -> Patient {
    let firewall = "[firewall]\nchains = [\"FORWARD\"]\npbx = [\"198.51.100.0/24\"]\nkeep = false";
    Patient::with(&format!("{inspect}\n{firewall}"), "", &[])
}

/// Puts something else into its configuration.
fn edit(patient: &Patient, old: &str, new: &str) {
    let text = fs::read_to_string(&patient.config).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(&patient.config, text.replace(old, new)).unwrap();
}

/// One to which some hundred packets came, nearly all of them from one address.
fn from_one_address(address: &str) -> Patient {
    let patient = Patient::sound();
    let (one, another) = (patient.world.client(address), patient.world.client("198.51.100.77"));
    one.send(SECRET);
    (0..20).for_each(|_| another.send("stranger"));
    (0..400).for_each(|_| one.send("phone"));
    let decided = || patient.world.queue_row(0).filter(|row| row[0] == 0 && row[3] >= 421);
    wait_until(decided).expect("all packets are decided");
    // They are counted once their verdicts have left.
    let counted = || {
        let command = ["--config", &patient.config, "stats", "--json"];
        let output = patient.world.sipknock(&command).output().unwrap();
        let stats: Value = serde_json::from_slice(&output.stdout).unwrap();
        (stats["busiest"]["of"] == 421).then_some(())
    };
    wait_until(counted).expect("all packets are counted");
    patient
}

/// One whose iptables does not know a word.
fn without(word: &str) -> Patient {
    let patient = Patient::sound();
    let script = format!(
        "script=$(cat); case $script in *{word}*) echo \"Couldn't load {word}\" >&2; exit 2;; esac
         printf '%s\\n' \"$script\" | PATH=/usr/sbin:/sbin:$PATH exec iptables-nft-restore \"$@\""
    );
    patient.stand_in("iptables-restore", &script);
    patient
}

/// As `nft -j list ruleset` prints firewalld's table, cut to what matters.
const FIREWALLD: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
{"table": {"family": "inet", "name": "firewalld", "handle": 2}},
{"chain": {"family": "inet", "table": "firewalld", "name": "filter_INPUT", "handle": 10, "type": "filter", "hook": "input", "prio": 10, "policy": "accept"}},
{"chain": {"family": "inet", "table": "firewalld", "name": "filter_IN_public_allow", "handle": 20}},
{"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 30, "expr": [{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
{"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 31, "expr": [{"jump": {"target": "filter_INPUT_ZONES"}}]}},
{"rule": {"family": "inet", "table": "firewalld", "chain": "filter_INPUT", "handle": 32, "expr": [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]}},
{"rule": {"family": "inet", "table": "firewalld", "chain": "filter_IN_public_allow", "handle": 33, "expr": [{"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": 22}}, {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["new", "untracked"]}}, {"accept": null}]}}]}"#;

/// As `nft -j list ruleset` prints the table of OpenWrt's firewall, cut to what matters.
const OFFLOAD: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "json_schema_version": 1}},
{"table": {"family": "inet", "name": "fw4", "handle": 2}},
{"flowtable": {"family": "inet", "name": "ft", "table": "fw4", "handle": 1, "hook": "ingress", "prio": 0, "dev": ["br-lan", "wan"]}},
{"chain": {"family": "inet", "table": "fw4", "name": "forward", "handle": 10, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}},
{"rule": {"family": "inet", "table": "fw4", "chain": "forward", "handle": 30, "expr": [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": {"set": ["tcp", "udp"]}}}, {"flow": {"op": "add", "flowtable": "@ft"}}]}}]}"#;
