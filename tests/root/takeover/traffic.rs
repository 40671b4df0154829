//! Packets of a phone with an open door and of a stranger, as fast as they are decided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::common::gate::{Client, DEADLINE, SECRET, World, register, wait_until};

/// Two senders, and a receiver that holds all packets against what was sent.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    received: Arc<AtomicUsize>,
    sender: JoinHandle<Client>,
    receiver: JoinHandle<Seen>,
}

/// What came to the server.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How often each number came.
    times: Vec<u8>,
    strange: Vec<String>,
}

impl Seen {
    /// Numbers that never came.
    pub(crate) fn missing(&self, sent: usize) -> usize {
        (0..sent).filter(|number| self.times.get(*number).is_none_or(|times| *times == 0)).count()
    }

    /// Nothing came twice, and nothing of the stranger's.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.strange, [""; 0], "what did not come from the phone");
        let twice: Vec<_> = self.times.iter().enumerate().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "came twice: {twice:?}");
    }
}

impl Traffic {
    /// Opens the phone's door, and starts. No more packets are under way than a queue has room for.
    pub(crate) fn start(world: &World, phone: &str, stranger: &str) -> Self {
        let (stop, sent, received) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (phone, stranger) = (world.client(phone), world.client(stranger));
        phone.send(&register(SECRET));
        phone.send(BEGIN);
        // One queue keeps the order: all that others have sent comes before this.
        while world.arrives() != BEGIN {}
        let sender = {
            let (stop, sent, received) = (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&received));
            thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let number = sent.load(Ordering::SeqCst);
                    if number - received.load(Ordering::SeqCst) > MOST_UNDER_WAY {
                        thread::sleep(Duration::from_micros(200));
                        continue;
                    }
                    for number in number..number + BURST {
                        phone.send(&format!("n {number}"));
                        if number.is_multiple_of(4) {
                            stranger.send("let me in");
                        }
                    }
                    sent.store(number + BURST, Ordering::SeqCst);
                    // Some 100,000 a second, strangers among them, where the machine has them.
                    thread::sleep(Duration::from_micros(100));
                }
                phone
            })
        };
        let socket = world.server_socket().try_clone().unwrap();
        let receiver = {
            let received = Arc::clone(&received);
            thread::spawn(move || {
                let (mut seen, mut buffer) = (Seen::default(), [0; 2048]);
                let mut silent_since = Instant::now();
                loop {
                    let Ok((length, _)) = socket.recv_from(&mut buffer) else {
                        assert!(silent_since.elapsed() < DEADLINE, "the last packet does not come: {seen:?}");
                        continue;
                    };
                    silent_since = Instant::now();
                    let text = String::from_utf8_lossy(&buffer[..length]);
                    if text == END {
                        return seen;
                    }
                    match text.strip_prefix("n ").and_then(|number| number.parse::<usize>().ok()) {
                        Some(number) => {
                            seen.times.resize(seen.times.len().max(number + 1), 0);
                            seen.times[number] += 1;
                            received.fetch_add(1, Ordering::SeqCst);
                        }
                        None => seen.strange.push(text.into_owned()),
                    }
                }
            })
        };
        Self { stop, sent, received, sender, receiver }
    }

    /// Waits until more than so many have come, and returns how many have.
    pub(crate) fn wait_for_more_than(&self, number: usize) -> usize {
        let come = wait_until(|| Some(self.received.load(Ordering::SeqCst)).filter(|come| *come > number));
        come.unwrap_or_else(|| {
            let (sent, received) = (self.sent.load(Ordering::SeqCst), self.received.load(Ordering::SeqCst));
            panic!("traffic has come to a halt: {received} of {sent} have come")
        })
    }

    /// Ends it; how many the phone has sent, the REGISTER and the marks among them. All have come, each once.
    pub(crate) fn finish(self) -> usize {
        let (sent, seen) = self.end();
        assert_eq!(seen.missing(sent), 0, "of {sent}");
        seen.assert_clean();
        sent + BESIDE
    }

    /// Ends it, where some may be lost: how many numbers were sent, and what came.
    pub(crate) fn end(self) -> (usize, Seen) {
        let Self { stop, sent, sender, receiver, .. } = self;
        stop.store(true, Ordering::SeqCst);
        sender.join().unwrap().send(END);
        (sent.load(Ordering::SeqCst), receiver.join().unwrap())
    }
}

/// What the phone sends before and behind the numbers. The queue keeps the order.
const BEGIN: &str = "the first packet";
const END: &str = "the last packet";

/// These two, and the REGISTER.
const BESIDE: usize = 3;

/// Some phones' worth, at a time.
const BURST: usize = 16;

/// Half of what a queue has room for, strangers' included.
const MOST_UNDER_WAY: usize = 6000;
