//! The matcher's engines and others, on packets without a knock: what every packet of a scan costs.
//!
//! `cargo bench --bench matcher` goes through 1 to 10,000 knocks of three styles on REGISTERs of 700 bytes, and keeps
//! the figures of the last run to compare with. An argument is a part of the names wanted, such as `uuid/10000` or
//! `exact/sipknock`. For a comparison of engines with each other, `sipknock bench` measures the same in rounds.

#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use sipknock::bench::{BenchEngine, BenchPattern, Style, traffic};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400))
        .without_plots()
        .configure_from_args();
    search(&mut criterion);
    build(&mut criterion);
    criterion.final_summary();
}

fn search(criterion: &mut Criterion) {
    let packets = traffic::registers(traffic::COUNT);
    for style in STYLES {
        for count in COUNTS {
            for (case, ignore_case) in CASES {
                let wanted = wanted(style, count, ignore_case);
                let mut group = criterion.benchmark_group(format!("search/{}/{count}/{case}", style.name()));
                group.throughput(Throughput::Elements(packets.len() as u64));
                for engine in BenchEngine::ALL {
                    let Ok(compiled) = engine.compile(&wanted) else { continue };
                    assert_eq!(compiled.pass(&packets), 0, "{}", engine.name());
                    // All packets, one after the other: the processor should not learn one by heart.
                    group.bench_function(BenchmarkId::from_parameter(engine.name()), |bencher| {
                        bencher.iter(|| compiled.pass(&packets));
                    });
                }
                group.finish();
            }
        }
    }
}

fn build(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build");
    for style in STYLES {
        for (case, ignore_case) in CASES {
            let wanted = wanted(style, 10_000, ignore_case);
            group.bench_function(format!("{}/10000/{case}", style.name()), |bencher| {
                bencher.iter_with_large_drop(|| BenchEngine::Sipknock.compile(&wanted).unwrap());
            });
        }
    }
    group.finish();
}

fn wanted(style: Style, count: usize, ignore_case: bool) -> Vec<BenchPattern> {
    style.knocks(count).into_iter().map(|bytes| BenchPattern { bytes, ignore_case }).collect()
}

const STYLES: [Style; 3] = [Style::Random, Style::Uuid, Style::Words];

const COUNTS: [usize; 6] = [1, 10, 30, 100, 1_000, 10_000];

const CASES: [(&str, bool); 2] = [("exact", false), ("ignore-case", true)];
