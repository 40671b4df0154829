//! The page in headless Chromium, inside the server's namespace, which leads nowhere else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;

use super::{LISTEN, get, knocks, make_traffic, start, status};
use crate::common::gate::{SECRET, World, register, wait_until};

/// What a stranger could send to have it run where it is shown.
const HOSTILE: &str = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">";

/// A browser that has looked at the page.
struct Seen {
    /// The document as it is in the end.
    dom: String,
    /// Every address that the page has asked for, itself included.
    asked: Vec<String>,
}

/// Opens the page, gives it time to show something, and returns what became of it.
fn look(world: &World, name: &str) -> Seen {
    let net_log = world.folder().join(format!("{name}.net.json"));
    let flag = format!("--log-net-log={}", net_log.display());
    let output = browse(world, name, &[&flag, "--dump-dom"], &format!("http://{LISTEN}/"));
    Seen { dom: String::from_utf8(output.stdout).unwrap(), asked: asked(&net_log) }
}

/// Runs the browser. Whatever a page writes to its console is an error here.
fn browse(world: &World, name: &str, flags: &[&str], url: &str) -> Output {
    let profile = world.folder().join(format!("browser-{name}"));
    let mut command = world.server.command("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
        .args(["--hide-scrollbars", "--enable-logging=stderr", "--virtual-time-budget=3000"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(flags)
        .arg(url)
        .env("HOME", &profile)
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !log.contains("CONSOLE"), "{log}");
    output
}

/// The addresses in a log of the browser's network that lead to the page, or come from it. What the browser asks for by
/// itself has no origin.
fn asked(net_log: &Path) -> Vec<String> {
    let log: Value = serde_json::from_str(&fs::read_to_string(net_log).unwrap()).unwrap();
    let start = &log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"];
    assert!(start.is_number(), "the log of the network is not as it was");
    let origin = format!("http://{LISTEN}");
    let requests = log["events"].as_array().unwrap().iter().filter(|event| event["type"] == *start);
    let urls = requests.filter_map(|event| {
        let url = event["params"]["url"].as_str()?;
        let initiator = event["params"]["initiator"].as_str().unwrap_or_default();
        (url.starts_with(&origin) || initiator.starts_with(&origin)).then(|| url.to_owned())
    });
    urls.collect()
}

pub(super) fn a_hostile_user_agent_is_shown_and_not_run(world: &World) {
    let (mut gate, _) = start(world, "", &knocks());
    let phone = world.client("198.51.100.7");
    let message = register(SECRET).replace("\r\n\r\n", &format!("\r\nUser-Agent: {HOSTILE}\r\n\r\n"));
    phone.send(&message.replace("<sip:100@pbx>", "<sip:<b>100</b>@pbx>"));
    world.delivered();
    let event = gate.wait_for("opened", |_| true);
    assert_eq!(event["user_agent"], HOSTILE);
    let seen = look(world, "hostile");
    let escaped = HOSTILE.replace('<', "&lt;").replace('>', "&gt;");
    assert!(seen.dom.contains(&escaped), "it is not shown as text:\n{}", seen.dom);
    assert!(seen.dom.contains("&lt;b&gt;100&lt;/b&gt;"), "nor is From:\n{}", seen.dom);
    assert!(seen.dom.contains("<title>sipknock</title>"), "it was run:\n{}", seen.dom);
    assert_eq!(seen.dom.matches("<script").count(), 1, "{}", seen.dom);
}

pub(super) fn the_page_asks_nobody_else(world: &World) {
    let (mut gate, config) = start(world, "", &knocks());
    make_traffic(world, &mut gate, &config);
    wait_until(|| status(world, "")["flow"]["accepted"][1].is_number().then_some(()))
        .expect("there is a graph");
    let seen = look(world, "plain");
    for part in [
        "alice-desk",
        "198.51.100.7",
        "healthy",
        "enforcing",
        "manual",
        "no-knock",
        "bob \"the\" &lt;b&gt;\\",
    ] {
        assert!(seen.dom.contains(part), "{part} is not on the page:\n{}", seen.dom);
    }
    assert!(!seen.dom.contains(SECRET));
    let ours = format!("http://{LISTEN}/");
    for path in ["", "page.css", "page.js", "status.json?"] {
        let wanted = format!("{ours}{path}");
        assert!(seen.asked.iter().any(|url| url.starts_with(&wanted)), "{wanted} in {:?}", seen.asked);
    }
    let others: Vec<_> = seen.asked.iter().filter(|url| !url.starts_with(&ours)).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Writes the page with its style, its script and what it would fetch into one file, which then says how wide it has
/// become. The page itself lets in no script but its own.
fn write_measuring(world: &World) {
    let page = get(world, "/");
    let css = "<link rel=\"stylesheet\" href=\"page.css\">";
    let js = "<script src=\"page.js\" defer></script>";
    assert!(page.contains(css) && page.contains(js), "{page}");
    // A door of the widest kind, and names without a place to break them.
    let mut status = status(world, "");
    let mut door = status["doors"]["rows"][0].clone();
    (door["source"], door["knock"]) = ("2001:db8:1234:5678::/64".into(), "k".repeat(64).into());
    status["doors"]["rows"].as_array_mut().unwrap().push(door);
    status["knocks"]["rows"][0]["knock"] = "n".repeat(64).into();
    status["events"][0]["user_agent"] = "u".repeat(128).into();
    status["faults"] = serde_json::json!(["queue 0: ".to_owned() + &"f".repeat(100)]);
    let measure = "look = async () => {}; clearTimeout(timer); show(STATUS); const root = document.documentElement; \
                   parent.postMessage([root.clientWidth, root.scrollWidth, \
                   getComputedStyle(document.body).backgroundColor].join(' '), '*');";
    let script = format!(
        "<script>const STATUS = {}; window.fetch = () => new Promise(() => {{}});</script><script>{}</script><script>{measure}</script>",
        status.to_string().replace('<', "\\u003c"),
        get(world, "/page.js")
    );
    let page = page.replace(css, &format!("<style>{}</style>", get(world, "/page.css"))).replace(js, "");
    let page = page.replace("<link rel=\"icon\" href=\"icon.svg\" type=\"image/svg+xml\">", "");
    let path = world.folder().join("page.html");
    fs::write(&path, page.replace("</body>", &format!("{script}</body>"))).unwrap();
}

/// A page with that one in a frame of a width, since a browser's window is 500 wide at least. It has the measures as its
/// title.
fn framed(world: &World, width: u32) -> String {
    let path = world.folder().join(format!("frame-{width}.html"));
    let html = format!(
        "<!DOCTYPE html><meta name=color-scheme content=\"light dark\"><title></title>\
         <script>onmessage = (message) => document.title = message.data;</script>\
         <iframe src=page.html style=\"border: 0; width: {width}px; height: 2000px\"></iframe>"
    );
    fs::write(&path, html).unwrap();
    format!("file://{}", path.display())
}

pub(super) fn the_page_fits_a_phone_in_light_and_dark(world: &World) {
    let (mut gate, config) = start(world, "", &knocks());
    make_traffic(world, &mut gate, &config);
    wait_until(|| status(world, "")["flow"]["accepted"][1].is_number().then_some(()))
        .expect("there is a graph");
    write_measuring(world);
    let keep = std::env::var_os(KEEP).map(PathBuf::from);
    for (name, width, height, more) in [
        ("phone-light", 360, 2000, &[][..]),
        ("phone-dark", 360, 2000, &["--force-dark-mode"]),
        ("desk-light", 1200, 1700, &[]),
        ("desk-dark", 1200, 1700, &["--force-dark-mode"]),
    ] {
        let size = format!("--window-size={width},{height}");
        let flags = [&[size.as_str()], more].concat();
        let output = browse(world, name, &[&flags[..], &["--dump-dom"]].concat(), &framed(world, width));
        let dom = String::from_utf8(output.stdout).unwrap();
        let title = dom.split_once("<title>").unwrap().1.split_once("</title>").unwrap().0;
        let background = if more.is_empty() { "rgb(244, 245, 247)" } else { "rgb(16, 21, 28)" };
        // As wide as its window, and all that is in it no wider.
        assert_eq!(title, format!("{width} {width} {background}"), "{name}");
        if let Some(folder) = &keep {
            let flag = format!("--screenshot={}", folder.join(format!("{name}.png")).display());
            browse(world, name, &[&flags[..], &[&flag]].concat(), &format!("http://{LISTEN}/"));
        }
    }
}

/// A folder to put pictures of the page in, for whoever wants to look at it himself.
const KEEP: &str = "SIPKNOCK_TEST_SCREENSHOTS";
