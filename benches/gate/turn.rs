//! A gate that is reloaded, asked for its doors and taken over under load: every packet of an open door arrives, and none of a
//! stranger.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::SENDER_CPU;
use super::endure::{Findings, Site};
use super::lab::{accepted, configured, pin};
use super::sender::Sender;
use super::traffic::Traffic;

/// Reloads and lists so many times each, has another process take over at every fifth, and says whether all was as it
/// should be.
pub(crate) fn run(times: usize) -> bool {
    let mut site = Site::new("", KNOCKS);
    let sender = Sender::new(&site.world);
    sender.send(Traffic::Knocking { knocks: KNOCKS }, PHONES, PHONES, Some(10_000.0));
    site.settle();
    let before = accepted(&site.world);
    assert_eq!(before, [PHONES as u64, 0], "all phones have knocked");
    let text = fs::read_to_string(&site.config).unwrap();
    let (start, _) = text.split_once("[[knock]]").unwrap();
    // A tenth of the knocks, and ten times as many; those that hold doors are in both.
    let variants = [KNOCKS, 10 * KNOCKS].map(|knocks| format!("{start}{}", configured(knocks)));
    let over = AtomicBool::new(false);
    let (mut reloads, mut lists, mut takeovers) = (0, 0, 0);
    let (sent, _) = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            pin(SENDER_CPU);
            // Phones and strangers by turns.
            sender.send_while(
                || !over.load(Ordering::Relaxed),
                usize::MAX,
                Some(RATE),
                |number| {
                    let traffic = if number % 2 == 0 { Traffic::Phones } else { Traffic::Strangers };
                    traffic.source(number / 2 % PHONES)
                },
            )
        });
        for turn in 0..times {
            fs::write(&site.config, &variants[(turn + 1) % 2]).unwrap();
            reloads += usize::from(site.says(&["reload"]).is_some());
            let listed = site.says(&["doors", "list", "--json"]);
            lists += usize::from(listed.is_some_and(|text| text.lines().count() == PHONES));
            takeovers += usize::from(turn % TAKEOVER == 0 && site.take_over());
        }
        over.store(true, Ordering::Relaxed);
        sending.join().unwrap()
    });
    let (queued, lost) = site.settle();
    let after = accepted(&site.world);
    let (phones, strangers) = (after[0] - before[0], after[1] - before[1]);
    let mut findings = Findings::default();
    findings.check(reloads == times, &format!("{reloads} of {times} reloads"));
    findings.check(lists == times, &format!("{lists} of {times} lists with all {PHONES} doors"));
    let wanted = times.div_ceil(TAKEOVER);
    findings.check(takeovers == wanted, &format!("{takeovers} of {wanted} takeovers"));
    findings.check(
        (queued, lost) == ((sent + PHONES) as u64, 0),
        &format!("{sent} sent, {} queued, {lost} lost there", queued - PHONES as u64),
    );
    findings.check(
        phones == sent.div_ceil(2) as u64,
        &format!("{phones} accepted of {} packets through open doors", sent.div_ceil(2)),
    );
    findings.check(strangers == 0, &format!("{strangers} accepted of {} packets of strangers", sent / 2));
    findings.all_held
}

/// Of so many turns one takes over.
const TAKEOVER: usize = 5;

const RATE: f64 = 50_000.0;

const KNOCKS: usize = 100;

const PHONES: usize = 1000;
