use serde_json::Value;

use super::*;
use crate::bench::engine::Unfit;

fn report() -> BenchReport {
    let one = |style, knocks, engine, median, chosen| Measured {
        case: Case { style, knocks, engine },
        ns: Spread { median, min: median - 1.0, max: median * 2.0 },
        memory: 4_200,
        build: Duration::from_micros(1_500),
        chosen,
        hits: 0,
    };
    let teddy = Case { style: Style::Random, knocks: 1_000, engine: BenchEngine::Teddy };
    BenchReport {
        machine: Machine {
            cpu: "Some CPU".to_owned(),
            cores: 2,
            features: vec!["avx2"],
            kernel: "6.18".to_owned(),
            pinned_to: 1,
            sipknock: "0.1.0",
            vectorscan: Some("5.4.9 2023-01-01".to_owned()),
        },
        traffic: Traffic { captured: false, packets: 256, bytes: 179_200 },
        rounds: 5,
        ignore_case: false,
        measurements: Measurements {
            measured: vec![
                one(Style::Random, 1, BenchEngine::Teddy, 53.0, None),
                one(Style::Random, 1, BenchEngine::Sipknock, 26.125, Some("memmem")),
                one(Style::Random, 1_000, BenchEngine::Sipknock, 50.0, Some("filter")),
                one(Style::Words, 1, BenchEngine::Daachorse, 1490.2, None),
            ],
            left_out: vec![(teddy, Unfit::TooMany), (Case { knocks: 9_000, ..teddy }, Unfit::TooMany)],
        },
    }
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_table_for_people() {
    let text = written(|out| report().write_text(out));
    let expected = "\
Some CPU, 2 cores, avx2; on CPU 1; Linux 6.18
sipknock 0.1.0, vectorscan 5.4.9; 256 generated REGISTERs of 700 bytes; CPU time, median of 5 interleaved rounds

Knocks of style random; no packet has one
 knocks  engine             ns/packet        range  GB/s   memory    build
      1  sipknock (memmem)       26.1  25.1 - 52.2  26.8  4.20 kB  1.50 ms
      1  teddy                   53.0  52.0 - 106   13.2  4.20 kB  1.50 ms
   1000  sipknock (filter)       50.0  49.0 - 100   14.0  4.20 kB  1.50 ms
 left out: teddy with 1000, 9000: so many knocks are too many for it

Knocks of style words; no packet has one
 knocks  engine     ns/packet          range  GB/s   memory    build
      1  daachorse      1,490  1,489 - 2,980  0.47  4.20 kB  1.50 ms
";
    let words = |text: &str| {
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    assert_eq!(words(&text), words(expected), "{text}");
}

#[test]
fn a_markdown_table_for_each_style() {
    let text = written(|out| {
        report().write_markdown(out, |style| (style == Style::Words).then(|| "matcher-words.svg".to_owned()))
    });
    let tables: Vec<_> = text.lines().filter(|line| line.starts_with(['|', '#', '!'])).collect();
    assert_eq!(
        tables,
        [
            "### Knocks of style random",
            "| knocks | 1 | 1,000 | 9,000 | memory, 9,000 | build, 9,000 |",
            "|---|---:|---:|---:|---:|---:|",
            "| sipknock | 26.1 | 50.0 | - | - | - |",
            "| teddy | 53.0 | - | - | - | - |",
            "### Knocks of style words",
            "| knocks | 1 | memory, 1 | build, 1 |",
            "|---|---:|---:|---:|",
            "| daachorse | 1,490 | 4.20 kB | 1.50 ms |",
            "![Search of 700 bytes for knocks of style words](matcher-words.svg)",
        ],
        "{text}"
    );
}

#[test]
fn one_json_object() {
    let text = written(|out| report().write_json(out));
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(value["machine"]["cpu"], "Some CPU");
    assert_eq!(value["traffic"], serde_json::json!({"captured": false, "packets": 256, "bytes": 179_200}));
    assert_eq!(
        value["results"][1],
        serde_json::json!({
            "style": "random", "knocks": 1, "engine": "sipknock", "chosen": "memmem",
            "ns_per_packet": {"median": 26.125, "min": 25.125, "max": 52.25},
            "gb_per_second": 700.0 / 26.125, "memory_bytes": 4_200, "build_ms": 1.5, "packets_with_hits": 0,
        })
    );
    assert_eq!(
        value["left_out"][0],
        serde_json::json!({
            "style": "random", "knocks": 1_000, "engine": "teddy", "why": "so many knocks are too many for it",
        })
    );
}

#[test]
fn a_plot_for_each_style() {
    let report = report();
    let plot = report.plot(Style::Random).unwrap();
    assert!(plot.contains("sipknock") && plot.contains("teddy") && !plot.contains("daachorse"));
    assert_eq!(report.plot(Style::Uuid), Err(NothingToPlot));
}

#[test]
fn numbers_of_three_digits() {
    for (value, expected) in
        [(0.4242, "0.42"), (26.12, "26.1"), (99.96, "100.0"), (1490.4, "1,490"), (1e7, "10,000,000")]
    {
        assert_eq!(number(value), expected);
    }
    for (bytes, expected) in [(0, "0 B"), (999, "999 B"), (4_200, "4.20 kB"), (25_600_000, "25.6 MB")] {
        assert_eq!(size(bytes), expected);
    }
    for (micros, expected) in [(7, "7.00 µs"), (1_500, "1.50 ms"), (2_000_000, "2.00 s")] {
        assert_eq!(time(Duration::from_micros(micros)), expected);
    }
}
