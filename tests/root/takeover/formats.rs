//! A gate of another version, as the newcomer meets it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;
use std::{fs, thread};

use sipknock::control::takeover::{Offer, TakeoverConnection, TakeoverMessage};
use sipknock::net::{Prefixes, Source};
use sipknock::state::format::{ClaimRecord, DoorRecord, Saved};
use sipknock::state::stamp::Stamp;

use crate::common::commands::{doors, socket};
use crate::common::gate::{DEADLINE, Gate, World, alice};
use crate::common::saved::as_first_version;

/// What such a gate has: a door of alice's, and no claims.
fn saved() -> Saved {
    let stamp = Stamp::now();
    let claim = ClaimRecord {
        knock: 0,
        registration: None,
        left: Duration::from_secs(1000),
        life: Duration::from_secs(4000),
        closing: false,
        ran_out: false,
    };
    let door = DoorRecord {
        source: Source::new("198.51.100.7".parse().unwrap(), Prefixes::default()),
        opened: stamp.wall.before(Duration::from_secs(3000)),
        last_knock: stamp.wall.before(Duration::from_secs(3000)),
        packets: 12,
        bytes: 8400,
        claim,
        claims: Vec::new(),
    };
    Saved {
        stamp,
        prefixes: Prefixes::default(),
        names: vec!["alice".to_owned()],
        identities: None,
        doors: vec![door],
        outbound: Vec::new(),
        marks: Vec::new(),
    }
}

fn asked(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

/// Hands over as the first version did, to whoever asks for that.
fn hand_over(listener: &UnixListener, file: &File) {
    let (refused, _) = listener.accept().unwrap();
    assert!(asked(&refused).contains("\"format\":2"));
    let refusal = r#"{"error":{"kind":"version","text":"hands over in another form"}}"#;
    writeln!(&refused, "{refusal}").unwrap();
    let (stream, _) = listener.accept().unwrap();
    assert!(asked(&stream).contains("\"format\":1"));
    let mut line = TakeoverConnection::new(stream);
    let prefixes = Prefixes::default();
    line.say(&TakeoverMessage::Offer(Offer {
        version: "0.1.0".to_owned(),
        pid: std::process::id(),
        queues: Vec::new(),
        ipv4_prefix: prefixes.v4,
        ipv6_prefix: prefixes.v6,
        rules: false,
        grace: false,
        outbound: None,
    }))
    .unwrap();
    assert_eq!(line.hear(DEADLINE).unwrap(), TakeoverMessage::Go {});
    let handed = TakeoverMessage::Handed { queues: Vec::new(), outbound: false };
    line.say_with(&handed, &[listener.as_fd(), file.as_fd()]).unwrap();
    assert_eq!(line.hear(DEADLINE).unwrap(), TakeoverMessage::Taken {});
    line.say(&TakeoverMessage::Done {}).unwrap();
}

pub(crate) fn a_gate_of_format_1_hands_its_doors_over(world: &World) {
    let config = world.guarded("", "", &alice());
    let path = world.path("first-version");
    fs::write(&path, as_first_version(&saved())).unwrap();
    let file = File::open(&path).unwrap();
    let listener = UnixListener::bind(socket(&config)).unwrap();
    let new = thread::scope(|scope| {
        let old = scope.spawn(|| hand_over(&listener, &file));
        let new = Gate::start(world, &["--config", &config, "--takeover"]);
        old.join().unwrap();
        new
    });
    drop(listener);
    let door = &doors(world, &config)["198.51.100.7"];
    assert_eq!((&door["knock"], &door["packets"]), (&"alice".into(), &12.into()));
    assert_eq!(door["knocks"].as_array().unwrap().len(), 1);
    let left = door["expires_in_s"].as_u64().unwrap();
    assert!((900..=1000).contains(&left), "{left}");
    world.client("198.51.100.7").send("still in");
    assert_eq!(world.delivered(), ["still in"]);
    assert!(new.stop().0.success());
}
