//! Messages that real programs sent, as captures have them. Bodies are left out where they do not matter.

/// baresip, with a display name that somebody typed in as a knock, and an instance.
pub(crate) const BARESIP: &str = "REGISTER sip:192.0.2.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 198.51.100.7:57160;branch=z9hG4bK399c14c5a9159a74;rport\r\n\
    Contact: <sip:301-0x5612c247ef60@198.51.100.7:57160>;expires=600;+sip.instance=\"<urn:uuid:3f2b8c1e-5d47-4a09-9c66-0e7a51d2b8f4>\";reg-id=1\r\n\
    Max-Forwards: 70\r\n\
    Route: <sip:192.0.2.1;lr>\r\n\
    To: <sip:301@192.0.2.1>\r\n\
    From: \"mykn0ckstr1ng\" <sip:301@192.0.2.1>;tag=424e9353c78aee27\r\n\
    Call-ID: 09fd63f94a7be7c4\r\n\
    CSeq: 62323 REGISTER\r\n\
    User-Agent: baresip v1.0.0 (x86_64/linux)\r\n\
    Supported: gruu, outbound, path\r\n\
    Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,SUBSCRIBE,INFO,MESSAGE,REFER\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// baresip with all that a display name may hold; its Contact has the URN in the URI (a GRUU, RFC 5627).
pub(crate) const BARESIP_INVITE: &str = "INVITE sip:4002@192.0.2.10;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.20:40266;branch=z9hG4bKf2a0e8ca2b769215;rport\r\n\
    Contact: <sip:4001@192.0.2.10;gr=urn:uuid:4c62c2f3-31fb-17c0-6cea-7d6f4c475e12>\r\n\
    Max-Forwards: 70\r\n\
    Route: <sip:192.0.2.10;transport=udp;lr>\r\n\
    To: <sip:4002@192.0.2.10;transport=udp>\r\n\
    From: \"O'Neill, Dana; x=1\" <sip:4001@192.0.2.10>;tag=6ac52768b8e186aa\r\n\
    Call-ID: 2657815d2228ba94\r\n\
    CSeq: 5645 INVITE\r\n\
    User-Agent: baresip v1.0.0 (x86_64/linux)\r\n\
    Allow: INVITE,ACK,BYE,CANCEL,OPTIONS,NOTIFY,SUBSCRIBE,INFO,MESSAGE,REFER\r\n\
    Supported: gruu,path,outbound\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 88\r\n\
    \r\n\
    v=0\r\n\
    o=- 2707967754 1456214134 IN IP4 192.0.2.20\r\n\
    s=-\r\n\
    t=0 0\r\n\
    a=tool:baresip 1.0.0\r\n";

/// baresip over IPv6, its user's name in Cyrillic.
pub(crate) const BARESIP_IPV6: &str = "REGISTER sip:[2001:db8:1::10];transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP [2001:db8:1::20]:55782;branch=z9hG4bKd5d59574db13fff2;rport\r\n\
    Contact: <sip:6001-0x562adeeb7eb0@[2001:db8:1::20]:55782>;expires=60;+sip.instance=\"<urn:uuid:4c62c2f3-31fb-17c0-6cea-7d6f4c475e12>\";reg-id=1\r\n\
    Max-Forwards: 70\r\n\
    Route: <sip:[2001:db8:1::10];transport=udp;lr>\r\n\
    To: <sip:6001@[2001:db8:1::10]>\r\n\
    From: \"Дмитрий\" <sip:6001@[2001:db8:1::10]>;tag=ef4b25d60d7fc225\r\n\
    Call-ID: 6a923ffc354d7e8e\r\n\
    CSeq: 48017 REGISTER\r\n\
    User-Agent: baresip v1.0.0 (x86_64/linux)\r\n\
    Supported: gruu, outbound, path\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// Linphone behind FreePBX: no display name, an instance behind a URI with a parameter of its own.
pub(crate) const LINPHONE: &str = "INVITE sip:8802@192.168.8.13 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.168.8.183:5060;branch=z9hG4bK.8RiLA5Cnw;rport\r\n\
    From: <sip:8801@192.168.8.13>;tag=5V~AE6uZT\r\n\
    To: sip:8802@192.168.8.13\r\n\
    CSeq: 20 INVITE\r\n\
    Call-ID: NA4y5nr9Jk\r\n\
    Max-Forwards: 70\r\n\
    Supported: replaces, outbound\r\n\
    Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, UPDATE\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 74\r\n\
    Contact: <sip:8801@192.168.8.183;transport=udp>;+sip.instance=\"<urn:uuid:615f3a97-c4e0-485c-9af7-b388bc70e9bb>\"\r\n\
    User-Agent: Linphonec/3.12.0 (belle-sip/1.6.3)\r\n\
    \r\n\
    v=0\r\n\
    o=8801 559 2101 IN IP4 192.168.8.183\r\n\
    s=Talk\r\n\
    c=IN IP4 0.0.0.0\r\n";

/// X-Lite: no space behind the display name, an `rinstance` that is no `+sip.instance`.
pub(crate) const X_LITE: &str = "REGISTER sip:192.168.10.2 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.168.10.41:13434;branch=z9hG4bK-d8754z-be202a0a6ce3714f-1---d8754z-;rport\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:10009@192.168.10.41:13434;rinstance=309c3e58798d5f69>\r\n\
    To: \"Philippec2\"<sip:10009@192.168.10.2>\r\n\
    From: \"Philippec2\"<sip:10009@192.168.10.2>;tag=65f92ced\r\n\
    Call-ID: M2NhZDAwZmYwZGNkYmZjYzQzYmY1MTMxMDQ2MzkzMTk.\r\n\
    CSeq: 1 REGISTER\r\n\
    Expires: 3600\r\n\
    User-Agent: X-Lite 4 release 4.0 stamp 58832\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// Compact names, and quotes that some program escaped once too often.
pub(crate) const ESCAPED_QUOTES: &str = "INVITE sip:97239287044@voip.brujula.net SIP/2.0\r\n\
    v: SIP/2.0/UDP 192.168.1.2:5060;branch=z9hG4bKnp104984053-44ce4a41192.168.1.2;rport\r\n\
    f: \\\"arik\\\" <sip:816666@voip.brurjula.net>;tag=6433ef9\r\n\
    t: <sip:97239287044@voip.brujula.net>\r\n\
    Call-ID: 105090259-446faf7a@192.168.1.2\r\n\
    CSeq: 1 INVITE\r\n\
    User-Agent: Nero SIPPS IP Phone Version 2.0.51.16\r\n\
    Expires: 120\r\n\
    c: application/sdp\r\n\
    l: 62\r\n\
    Contact: <sip:816666@192.168.1.2>\r\n\
    \r\n\
    v=0\r\n\
    o=SIPPS 105015165 105015162 IN IP4 192.168.1.2\r\n\
    s=SIP call\r\n";

/// SIPVicious, as it knocks on every door of the Internet.
pub(crate) const SCANNER: &str = "OPTIONS sip:100@131.243.0.1 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:5274;branch=z9hG4bK-978872083;rport\r\n\
    Content-Length: 0\r\n\
    From: \"sipvicious\"<sip:100@1.1.1.1>;tag=3833663330303031313363340131393939383835373034\r\n\
    Accept: application/sdp\r\n\
    User-Agent: friendly-scanner\r\n\
    To: \"sipvicious\"<sip:100@1.1.1.1>\r\n\
    Contact: sip:100@127.0.0.1:5274\r\n\
    CSeq: 1 OPTIONS\r\n\
    Call-ID: 136061588268204605358974\r\n\
    Max-Forwards: 70\r\n\
    \r\n";

/// The same, with its compact names.
pub(crate) const SCANNER_COMPACT: &str = "INVITE sip:100@192.0.2.10 SIP/2.0\r\n\
    v: SIP/2.0/UDP 192.0.2.20:5060;branch=z9hG4bK-1990747436;rport\r\n\
    t: \"sipvicious\"<sip:100@1.1.1.1>\r\n\
    f: \"sipvicious\"<sip:100@1.1.1.1>;tag=6330303030323061313363340132323234393432333731\r\n\
    i: 94660398983977570776455\r\n\
    m: sip:100@192.0.2.20:5060\r\n\
    CSeq: 1 INVITE\r\n\
    Max-Forwards: 70\r\n\
    Accept: application/sdp\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// Lines that end with LF, but for the last two; a Request-URI without a host.
pub(crate) const ZOIPER_LF: &str = "REGISTER sip:;transport=UDP SIP/2.0\n\
    Via: SIP/2.0/UDP 172.16.1.2:9999;branch=z9hG4bK-d8754z-04a8ccbaefc7ca16-1---d8754z-\n\
    Max-Forwards: 70\n\
    Contact: <sip:200@172.16.1.2:9999;rinstance=7a6a6a2bab417654;transport=UDP>\n\
    To: \"200\"<sip:200@172.16.8.103;transport=UDP>\n\
    From: \"200\"<sip:200@172.16.8.103;transport=UDP>;tag=c6202751\n\
    Call-ID: MGEyODEzM2E3MTY0N2Q1NmE0ZjdhOTgxYTcyZmNlYzY.\n\
    CSeq: 1 REGISTER\n\
    Expires: 3600\n\
    User-Agent: Zoiper rev.10106\n\
    Allow-Events: presence, kpml\n\
    Content-Length: 0\r\n\
    \r\n";

/// A registrar's answer, with all that RFC 5627 puts into the contact before the instance.
pub(crate) const KAMAILIO_OK: &str = "SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 192.0.2.20:39433;branch=z9hG4bKe9f065154783348a;rport=39433;received=192.0.2.20\r\n\
    To: <sip:5001@192.0.2.10>;tag=8068789c6f489f848d68f11e81141125.9240f72d\r\n\
    From: \"Eve\" <sip:5001@192.0.2.10>;tag=f42ec5d278c503f2\r\n\
    Call-ID: e4bb7f908fa1a52a\r\n\
    CSeq: 48605 REGISTER\r\n\
    Require: outbound\r\n\
    Flow-Timer: 6\r\n\
    Contact: <sip:5001-0x55d0235f9e60@192.0.2.20:39433>;expires=120;received=\"sip:192.0.2.20:39433\";pub-gruu=\"sip:5001@192.0.2.10;gr=urn:uuid:4c62c2f3-31fb-17c0-6cea-7d6f4c475e12\";temp-gruu=\"sip:uloc-6b030d7a-5a9a-1-5164e933@192.0.2.10;gr\";+sip.instance=\"<urn:uuid:4c62c2f3-31fb-17c0-6cea-7d6f4c475e12>\";reg-id=1\r\n\
    Server: kamailio\r\n\
    Content-Length: 0\r\n\
    \r\n";

/// SIPp: a display name without quotes, a Contact without `<>`.
pub(crate) const SIPP: &str = "INVITE sip:ua2@CA.cym.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.1.1:5061;branch=z9hG4bK-4461-1-3\r\n\
    From: ua1 <sip:ua1@nnl.cym:5061>;tag=4461SIPpTag07b1\r\n\
    To: ua2 <sip:ua2@nnl.cym:5060>\r\n\
    Call-ID: 1-4461@127.0.1.1\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: sip:ua1@127.0.1.1:5061\r\n\
    Max-Forwards: 70\r\n\
    Subject: Performance Test\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length:   129\r\n\
    \r\n\
    v=0\r\n\
    o=user1 53655765 2353687637 IN IP4 127.0.1.1\r\n\
    s=-\r\n\
    c=IN IP4 127.0.1.1\r\n\
    t=0 0\r\n\
    m=audio 6001 RTP/AVP 0\r\n\
    a=rtpmap:0 PCMU/8000\r\n";

/// Metasploit's spoofed INVITE.
pub(crate) const SPOOFED: &str = "INVITE sip:@127.0.0.1 SIP/2.0\r\n\
    To: <sip:10.0.1.45>\r\n\
    Via: SIP/2.0/UDP 10.0.1.45\r\n\
    From: \"testtest\"<sip:10.0.1.199>\r\n\
    Call-ID: 14810.0.1.45\r\n\
    CSeq: 1 INVITE\r\n\
    Max-Forwards: 20\r\n\
    Contact: <sip:127.0.0.1>\r\n\
    \r\n";
