//! The paths, and what comes with every answer.

use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};

use super::host;
use super::service::{PageQuery, Sort};
use crate::metrics;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A part of the page, which is in the program.
    Fixed(&'static str, &'static str),
    /// `/metrics`
    Metrics,
    /// `/healthz`
    Health,
    /// `/status.json`
    Status(PageQuery),
}

/// Why a request does not get what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HttpRefusal(StatusCode, &'static str);

/// What a request asks for.
pub(super) fn read<B>(request: &Request<B>, names: &[String]) -> Result<Asked, HttpRefusal> {
    check_host(request, names)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(HttpRefusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n"));
    }
    Ok(match request.uri().path() {
        "/" => Asked::Fixed("text/html; charset=utf-8", include_str!("page/index.html")),
        "/page.css" => Asked::Fixed("text/css; charset=utf-8", include_str!("page/page.css")),
        "/page.js" => Asked::Fixed("text/javascript; charset=utf-8", include_str!("page/page.js")),
        "/icon.svg" => Asked::Fixed("image/svg+xml", include_str!("page/icon.svg")),
        "/metrics" => Asked::Metrics,
        "/healthz" => Asked::Health,
        "/status.json" => Asked::Status(wanted(request.uri())),
        _ => {
            let text = "there are /, /metrics, /healthz and /status.json here\n";
            return Err(HttpRefusal(StatusCode::NOT_FOUND, text));
        }
    })
}

/// Who is meant: by the Host header field, and by a request line that names somebody (RFC 9112, 3.2).
fn check_host<B>(request: &Request<B>, names: &[String]) -> Result<(), HttpRefusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    // Before HTTP/1.1 none is required, and no browser is as old.
    let complete = more.is_none() && (host.is_some() || request.version() == Version::HTTP_10);
    if !complete {
        return Err(HttpRefusal(StatusCode::BAD_REQUEST, "a request needs one Host header field\n"));
    }
    let named = host.map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(|authority| authority.as_str());
    if named.into_iter().chain(target).all(|authority| host::is_ours(authority, names)) {
        return Ok(());
    }
    let text = "this Host is not known here: ask by address, or add the name to 'hosts' below [http] in the \
                configuration\n";
    Err(HttpRefusal(StatusCode::MISDIRECTED_REQUEST, text))
}

/// `?filter=TEXT&sort=NAME`; anything else is not looked at.
fn wanted(uri: &Uri) -> PageQuery {
    let mut wanted = PageQuery::default();
    for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*key {
            "filter" => wanted.filter = value.trim().chars().take(MAX_FILTER).collect(),
            "sort" => wanted.sort = Sort::named(&value).unwrap_or_default(),
            _ => {}
        }
    }
    wanted
}

pub(super) fn refused(HttpRefusal(status, text): HttpRefusal) -> Response<Bytes> {
    let mut answer = plain(status, text);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    answer
}

/// `/healthz`: all is well, or what is not.
pub(super) fn health(faults: &[String]) -> Response<Bytes> {
    match faults {
        [] => plain(StatusCode::OK, "ok\n"),
        faults => plain(StatusCode::SERVICE_UNAVAILABLE, faults.join("\n") + "\n"),
    }
}

pub(super) fn metrics(text: String) -> Response<Bytes> {
    answer(StatusCode::OK, metrics::CONTENT_TYPE, text)
}

pub(super) fn status(value: &serde_json::Value) -> Response<Bytes> {
    answer(StatusCode::OK, "application/json", value.to_string())
}

pub(super) fn fixed(kind: &'static str, text: &'static str) -> Response<Bytes> {
    answer(StatusCode::OK, kind, text)
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    answer(status, "text/plain; charset=utf-8", text)
}

fn answer(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    protect(headers);
    answer
}

/// What every answer has, so that no page that shows what strangers have sent does anything but show it.
fn protect(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Our own style, script, icon and JSON are let in, and nothing else; nobody may frame it, and no address leaves with a
/// link.
const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Longer than any address or name.
const MAX_FILTER: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, hosts: &[&str]) -> Request<()> {
        let (method, uri) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(uri);
        hosts.iter().fold(request, |request, host| request.header(HOST, *host)).body(()).unwrap()
    }

    #[test]
    fn paths_and_methods() {
        let all = PageQuery::default();
        for (line, expected) in [
            ("GET /metrics", Ok(Asked::Metrics)),
            ("HEAD /healthz", Ok(Asked::Health)),
            ("GET /healthz?verbose", Ok(Asked::Health)),
            ("GET /status.json", Ok(Asked::Status(all.clone()))),
            ("GET http://127.0.0.1/metrics", Ok(Asked::Metrics)),
            ("GET http://evil.example/metrics", Err(421)),
            ("GET /../etc/passwd", Err(404)),
            ("GET /metrics/", Err(404)),
            ("POST /metrics", Err(405)),
            ("OPTIONS *", Err(405)),
        ] {
            let read = read(&request(line, &["127.0.0.1:9470"]), &[])
                .map_err(|HttpRefusal(status, _)| status.as_u16());
            assert_eq!(read, expected, "{line}");
        }
    }

    #[test]
    fn one_host_that_is_ours() {
        let names = ["pbx.example.org".to_owned()];
        for (hosts, status) in [
            (&["localhost"][..], None),
            (&["pbx.example.org"], None),
            (&["evil.example"], Some(421)),
            (&["localhost", "localhost"], Some(400)),
            (&[], Some(400)),
        ] {
            let read = read(&request("GET /", hosts), &names);
            assert_eq!(read.err().map(|HttpRefusal(status, _)| status.as_u16()), status, "{hosts:?}");
        }
    }

    #[test]
    fn queries() {
        for (query, filter, sort) in [
            ("filter=198.51.100.7&sort=expires", "198.51.100.7", Sort::Expires),
            ("filter=2001%3Adb8%3A%3A%2f64", "2001:db8::/64", Sort::Recent),
            ("sort=packets&filter=+front+desk+", "front desk", Sort::Packets),
            ("filter=100%&sort=by-magic", "100%", Sort::Recent),
            ("filter=%zz%4&filter2=x", "%zz%4", Sort::Recent),
            ("filter=%ff", "\u{fffd}", Sort::Recent),
            ("%66ilter=front&s%6frt=expires", "front", Sort::Expires),
            ("filter&sort", "", Sort::Recent),
            ("", "", Sort::Recent),
        ] {
            let uri = format!("/status.json?{query}").parse().unwrap();
            assert_eq!(wanted(&uri), PageQuery { filter: filter.to_owned(), sort }, "{query}");
        }
    }

    #[test]
    fn everything_is_protected() {
        for answer in
            [health(&[]), metrics(String::new()), plain(StatusCode::NOT_FOUND, "no"), fixed("text/html", "")]
        {
            let policy = answer.headers()["content-security-policy"].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
            assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        }
        let answer = health(&["queue 0 is gone".to_owned(), "and more".to_owned()]);
        assert_eq!(
            (answer.status().as_u16(), &answer.body()[..]),
            (503, &b"queue 0 is gone\nand more\n"[..])
        );
    }
}
