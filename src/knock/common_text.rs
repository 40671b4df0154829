//! Text that occurs in the packets of strangers.

/// Text that a gate sees from everybody, each with its origin.
pub(super) const ORDINARY: [(&str, &str); 6] = [
    ("the documentation", DOCUMENTED),
    ("the example configuration", "CHANGE-ME"),
    (
        "ordinary SIP text",
        "REGISTER INVITE ACK BYE CANCEL OPTIONS SUBSCRIBE NOTIFY PUBLISH MESSAGE REFER INFO PRACK UPDATE \
         sip:localhost SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK;rport;received= Max-Forwards: 70\r\n\
         Via: From: To: Call-ID: CSeq: 1 REGISTER\r\nContact: <sip:100@192.168.1.100:5060;transport=udp>;expires=3600\r\n\
         User-Agent: Allow-Events: presence, message-summary\r\nContent-Type: application/sdp\r\nContent-Length: 0\r\n\
         Supported: replaces, timer, outbound, path, gruu\r\nAuthorization: Digest username=\"\", realm=\"asterisk\", \
         nonce=\"\", uri=\"sip:\", response=\"\", algorithm=MD5\r\n+sip.instance=\"<urn:uuid:00000000-0000-0000-0000-000000000000>\"",
    ),
    (
        "text that SIP scanners send",
        "friendly-scanner sipvicious sundayddr sipcli/v1.8 VaxSIPUserAgent/3.1 pplsip sip-scan sipsak sip:nm SIP OPTIONS \"sipvicious\"<sip:100@1.1.1.1>",
    ),
    (
        "a list of factory settings",
        "asterisk freepbx fusionpbx extension anonymous unknown admin password 1234567890 voicemail reception conference",
    ),
    (
        "the User-Agent of every phone of its make",
        "Yealink SIP-T46S Grandstream GXP2170 snomD785 PolycomVVX-VVX_411 Cisco-CP8841 Linphone baresip Zoiper MicroSIP Asterisk PBX FPBX-16",
    ),
];

/// The secret of the string rules that this program takes the place of, and of its own examples. Gates have it in use, so
/// `check` warns of it and does not refuse it.
pub(super) const DOCUMENTED: &str = "mykn0ckstr1ng";
