//! What the torture tests of RFC 4475 say, read off the RFC, and messages of our own in the same forms.

/// What a message says.
pub(crate) struct Expected {
    /// `None` for an answer.
    pub(crate) method: Option<&'static str>,
    /// The display name in From.
    pub(crate) from: Option<&'static str>,
    pub(crate) instance: Option<&'static str>,
    /// How many there are, were it a TCP payload.
    pub(crate) messages: usize,
}

const fn request(method: &'static str, from: Option<&'static str>) -> Expected {
    Expected { method: Some(method), from, instance: None, messages: 1 }
}

const ANSWER: Expected = Expected { method: None, from: None, instance: None, messages: 1 };

/// By the RFC's names of them. None has an instance, which is younger. From `baddn` on, something is wrong with them,
/// but these things can be told.
pub(crate) const REFERENCE: &[(&str, Expected)] = &[
    ("wsinv", request("INVITE", Some("J Rosenberg \\\""))),
    (
        "intmeth",
        request("!interesting-Method0123456789_*+`.%indeed'~", Some("token1~` token2'+_ token3*%!.-")),
    ),
    ("esc01", request("INVITE", None)),
    ("escnull", request("REGISTER", None)),
    ("esc02", request("RE%47IST%45R", Some("%Z%45"))),
    ("lwsdisp", request("OPTIONS", Some("caller"))),
    ("longreq", request("INVITE", None)),
    ("dblreq", Expected { method: Some("REGISTER"), from: None, instance: None, messages: 2 }),
    ("semiuri", request("OPTIONS", None)),
    ("transports", request("OPTIONS", None)),
    ("unreason", ANSWER),
    ("noreason", ANSWER),
    ("badbranch", request("OPTIONS", None)),
    ("unkscm", request("OPTIONS", None)),
    ("novelsc", request("OPTIONS", None)),
    ("unksm2", request("REGISTER", None)),
    ("bext01", request("OPTIONS", None)),
    ("invut", request("INVITE", None)),
    ("regaut01", request("REGISTER", None)),
    ("bcast", ANSWER),
    ("zeromf", request("OPTIONS", None)),
    ("cparam01", request("REGISTER", None)),
    ("cparam02", request("REGISTER", None)),
    ("regescrt", request("REGISTER", None)),
    ("sdp01", request("INVITE", None)),
    ("inv2543", request("INVITE", None)),
    ("baddn", request("OPTIONS", Some("Bell, Alexander"))),
    ("badaspec", request("OPTIONS", Some("Bell, Alexander"))),
    ("badvers", request("OPTIONS", Some("A. Bell"))),
    ("baddate", request("INVITE", None)),
    ("scalarlg", ANSWER),
    ("mismatch01", request("OPTIONS", None)),
    ("mismatch02", request("NEWMETHOD", None)),
];

/// One of our own messages; `\n` stands for the line end.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) message: &'static str,
    pub(crate) expected: Expected,
}

const fn case(
    name: &'static str,
    message: &'static str,
    method: Option<&'static str>,
    from: Option<&'static str>,
    instance: Option<&'static str>,
) -> Case {
    Case { name, message, expected: Expected { method, from, instance, messages: 1 } }
}

pub(crate) const OWN: &[Case] = &[
    case(
        "white space everywhere (3.1.1.1)",
        "INVITE sip:door@pbx.example.org;lr SIP/2.0\n\
         TO :\n sip:door@pbx.example.org ;   tag    = 77n\n\
         from   : \"The \\\\ \\\"Keeper\\\"\"       <sip:keeper@pbx.example.org>\n  ;\n  tag = 98\n\
         MaX-fOrWaRdS: 0068\n\
         Call-ID: white.space@203.0.113.7\n\
         Content-Length   : 00\n\
         cseq: 0009\n  INVITE\n\
         Via  : SIP  /   2.0\n /UDP\n    203.0.113.7;branch=390\n\
         s :\n\
         NewHeader:   new value\n goes on here\n\
         OddValue: ;;,,;;,;\n\
         v:  SIP  / 2.0  / TCP     203.0.113.8   ;\n  branch  =   z9hG4bK9 ,\n SIP  /    2.0   / UDP  203.0.113.9\n\
         m:\"Quoted \\\"\\\" string\" <sip:keeper@203.0.113.7> ; new =\n      value ;\n  \
         +sip.INSTANCE\n =  \"<urn:uuid:0d1e>\" ; q = 0.33\n\n",
        Some("INVITE"),
        Some("The \\ \"Keeper\""),
        Some("urn:uuid:0d1e"),
    ),
    case(
        "every character a token may have (3.1.1.2)",
        "-.!%*_+`'~Az09 sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1@pbx.example.org SIP/2.0\n\
         From: -.!%*_+`'~ A.z*09 <sip:keeper@pbx.example.org>;from''~+*_!.-%=\"работа\";tag=_t~1'+*\n\
         Call-ID: word%ZK-!.*_+'@word`~)(><:\\/\"][?}{\n\
         Contact: \"\u{7fff}\u{1}\" <sip:a@b>;+sip.instance=\"<urn:-.!%*_+'~>\"\n\n",
        Some("-.!%*_+`'~Az09"),
        Some("-.!%*_+`'~ A.z*09"),
        Some("urn:-.!%*_+'~"),
    ),
    case(
        "percent escapes stay (3.1.1.3, 3.1.1.5)",
        "RE%47ISTER sip:sips%3Akeeper%40b@pbx.example.org SIP/2.0\n\
         From: \"%41\" <sip:I%20have%20blanks@pbx.example.org>;tag=938\n\
         Contact:\n  <sip:cal%6Cer@203.0.113.7;%6C%72;n%61me=v%61lue%25%34%31>;+sip.instance=\"<urn:%41>\"\n\
         Contact: <sip:a@b>;%2Bsip.instance=\"<urn:x>\"\n\n",
        Some("RE%47ISTER"),
        Some("%41"),
        Some("urn:%41"),
    ),
    case(
        "an escaped NUL in the user (3.1.1.4)",
        "REGISTER sip:pbx.example.org SIP/2.0\n\
         From: sip:null-%00-null@pbx.example.org;tag=839\n\
         Contact: <sip:%00@203.0.113.7>\nContact: <sip:%00%00@203.0.113.7>\nL:0\n\n",
        Some("REGISTER"),
        None,
        None,
    ),
    case(
        "no space between name and < (3.1.1.6)",
        "OPTIONS sip:a@b SIP/2.0\nFrom: keeper<sip:keeper@b>;tag=323\nm:x<sip:a>;+sip.instance=\"<urn:y>\"\nl: 0\n\n",
        Some("OPTIONS"),
        Some("keeper"),
        Some("urn:y"),
    ),
    case(
        "Via in every case, names compact and not (3.1.1.7)",
        "INVITE sip:a@b SIP/2.0\nTo: \"a very long extremeextremeextreme name\"<sip:a@b:6000;x=y>;z\n\
         F: sip:keeper@b;tag=12;unknown=value;valueless\n\
         Via: SIP/2.0/TCP a\nv: SIP/2.0/TCP b\nV : SIP/2.0/TCP c\nviA  : SIP/2.0/TCP d\n\
         M: <sip:keeper@203.0.113.7>\n\n",
        Some("INVITE"),
        None,
        None,
    ),
    Case {
        name: "another request behind the body (3.1.1.8)",
        message: "REGISTER sip:b SIP/2.0\nTo: sip:a@b\nFrom: first<sip:a@b>;tag=43\nContact: sip:a@c\n\
                  Content-Length: 0\n\n\n\
                  INVITE sip:joe@b SIP/2.0\nFrom: second<sip:a@b>;tag=141\n\
                  Contact: <sip:a@c>;+sip.instance=\"<urn:second>\"\nContent-Length: 9\n\nv=0\no=x\n",
        expected: Expected { method: Some("REGISTER"), from: Some("first"), instance: None, messages: 2 },
    },
    case(
        "a semicolon in the user (3.1.1.9)",
        "OPTIONS sip:user;par=u%40example.net@pbx.example.org SIP/2.0\nFrom: sip:keeper@b;tag=33\n\
         Contact: <sip:user;+sip.instance=no@b>;+sip.instance=\"<urn:yes>\"\nl: 0\n\n",
        Some("OPTIONS"),
        None,
        Some("urn:yes"),
    ),
    case(
        "a body in several parts (3.1.1.11)",
        "MESSAGE sip:a@b SIP/2.0\nFrom: <sip:127.0.0.1:5070>;tag=1\n\
         Content-Type: multipart/mixed;boundary=7a9c\nContent-Length: 72\n\n\
         --7a9c\nFrom: body <sip:a@b>\nContact: <sip:a>;+sip.instance=\"<urn:b>\"\n",
        Some("MESSAGE"),
        None,
        None,
    ),
    case(
        "an unusual reason (3.1.1.12)",
        "SIP/2.0 200 = 2**3 * 5**2 но сто девяносто девять - простое\nFrom: \"Ü\" <sip:a@b>;tag=1\nContact: <sip:a@c>\n\n",
        None,
        Some("Ü"),
        None,
    ),
    case(
        "no reason (3.1.1.13)",
        "SIP/2.0 100 \nFrom: <sip:a@b>;tag=39\nContact: <sip:a@c>\n\n",
        None,
        None,
        None,
    ),
    case(
        "separators of nothing (3.1.2.1)",
        "INVITE sip:a@b SIP/2.0\nFrom: \"Keeper\" <sip:a@b>;;tag=134161461246;;\n\
         Contact: \"Joe\" <sip:joe@b>;;;;, ,, <sip:a>;;+sip.instance=\"<urn:x>\";;\n\
         Via: SIP/2.0/UDP 192.0.2.15;;,;,,\n\n",
        Some("INVITE"),
        Some("Keeper"),
        Some("urn:x"),
    ),
    case(
        "longer than it is (3.1.2.2)",
        "INVITE sip:a@b SIP/2.0\nFrom: K <sip:a@b>\nContact: <sip:a>;+sip.instance=\"<urn:x>\"\nContent-Length: 9999\n\nv=0\n",
        Some("INVITE"),
        Some("K"),
        Some("urn:x"),
    ),
    case(
        "a negative length (3.1.2.3)",
        "INVITE sip:a@b SIP/2.0\nFrom: K <sip:a@b>\nContent-Length: -999\n\nBYE sip:a@b SIP/2.0\n\n",
        Some("INVITE"),
        Some("K"),
        None,
    ),
    case(
        "numbers too large (3.1.2.4)",
        "REGISTER sip:b SIP/2.0\nFrom: <sip:a@b>\nMax-Forwards: 300\nCSeq: 36893488147419103232 REGISTER\n\
         Expires: 1000000000000\nContact: <sip:a@c>;expires=280297596632815;+sip.instance=\"<urn:x>\"\n\n",
        Some("REGISTER"),
        None,
        Some("urn:x"),
    ),
    case(
        "quotes that nothing closes (3.1.2.6)",
        "INVITE sip:a@b SIP/2.0\nFrom: \"Mr. K. Keeper <sip:a@b>;tag=93334\nContact: \"Joe <sip:a>;+sip.instance=<urn:x>\n\n",
        Some("INVITE"),
        Some("\"Mr. K. Keeper"),
        Some("urn:x"),
    ),
    case(
        "<> around the Request-URI (3.1.2.7)",
        "INVITE <sip:a@b> SIP/2.0\nFrom: \"K\"<sip:a@b>\n\n",
        Some("INVITE"),
        Some("K"),
        None,
    ),
    case(
        "white space in and around the start line (3.1.2.8, 3.1.2.9, 3.1.2.10)",
        "INVITE  sip:a@b; lr  SIP/2.0  \nFrom: \"K\"<sip:a@b>\n\n",
        Some("INVITE"),
        Some("K"),
        None,
    ),
    case(
        "no <> around a URI with headers (3.1.2.13)",
        "REGISTER sip:b SIP/2.0\nFrom: sip:a@b;tag=998332\nContact: sip:a@b?Route=%3Csip:c%3E;+sip.instance=\"<urn:x>\"\nl:0\n\n",
        Some("REGISTER"),
        None,
        Some("urn:x"),
    ),
    case(
        "blanks in the <> (3.1.2.14)",
        "OPTIONS sip:a@b SIP/2.0\nFrom: \"Keeper, Door\" < sip:a@b >;tag=4\nm: < sip:a > ;+sip.instance=\"< urn:x >\"\n\n",
        Some("OPTIONS"),
        Some("Keeper, Door"),
        Some("urn:x"),
    ),
    case(
        "no quotes where they belong (3.1.2.15)",
        "OPTIONS sip:a@b SIP/2.0\nFrom:    Keeper, Door <sip:a@b>;tag=43\nm: Watson, T. <sip:a>;+sip.instance=\"<urn:x>\"\n\n",
        Some("OPTIONS"),
        Some("Keeper, Door"),
        Some("urn:x"),
    ),
    case(
        "a version to come (3.1.2.16)",
        "OPTIONS sip:a@b SIP/7.0\nFrom: A. Keeper <sip:a@b>\n\n",
        Some("OPTIONS"),
        Some("A. Keeper"),
        None,
    ),
    case(
        "a large status (3.1.2.19)",
        "SIP/2.0 4294 better not\nFrom: \"K\" <sip:a@b>\n\n",
        None,
        Some("K"),
        None,
    ),
    case(
        "a scheme of its own (3.3.4)",
        "REGISTER sip:b SIP/2.0\nTo: isbn:2983792873\nFrom: <http://www.example.com>;tag=32\nContact: <name:Keeper>\n\n",
        Some("REGISTER"),
        None,
        None,
    ),
    case(
        "old and bare (3.4.1)",
        "INVITE sip:UserB@b SIP/2.0\nVia: SIP/2.0/UDP gw\nFrom: <sip:+4930123@b;user=phone>\nTo: sip:+4931@b;user=phone\n\nv=0\n",
        Some("INVITE"),
        None,
        None,
    ),
];
