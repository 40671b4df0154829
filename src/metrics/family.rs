//! Metric families, with their rows.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::counts::{BOUNDS, HistogramTotal};

/// The families of a scrape. One without a row is left out.
#[derive(Default)]
pub(super) struct Families(pub(super) Vec<MetricFamily>);

impl Families {
    pub(super) fn counter(&mut self, name: &str, help: &str, count: u64) {
        self.counters::<0>(name, help, [([], count)]);
    }

    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.gauges::<0>(name, help, [([], value)]);
    }

    pub(super) fn counters<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([(&'static str, &'a str); N], u64)>,
    ) {
        let rows = rows.into_iter().map(|(labels, count)| counted(labels, count as f64));
        self.add(name, help, MetricType::COUNTER, rows.collect());
    }

    pub(super) fn gauges<'a, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([(&'static str, &'a str); N], u64)>,
    ) {
        let rows = rows.into_iter().map(|(labels, value)| measured(labels, value as f64));
        self.add(name, help, MetricType::GAUGE, rows.collect());
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, total: &HistogramTotal) {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&total.buckets).map(|(bound, count)| {
            below += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(nanos_to_seconds(*bound));
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        // All observations; the encoder writes the bucket beyond the last bound from this.
        histogram.set_sample_count(total.buckets.iter().sum());
        histogram.set_sample_sum(nanos_to_seconds(total.nanos));
        let mut metric = Metric::default();
        metric.set_histogram(histogram);
        self.add(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    pub(super) fn add(&mut self, name: &str, help: &str, kind: MetricType, rows: Vec<Metric>) {
        if rows.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(rows);
        self.0.push(family);
    }
}

pub(super) fn counted<const N: usize>(labels: [(&'static str, &str); N], count: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(count);
    let mut metric = labelled(labels);
    metric.set_counter(counter);
    metric
}

pub(super) fn measured<const N: usize>(labels: [(&'static str, &str); N], value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = labelled(labels);
    metric.set_gauge(gauge);
    metric
}

fn labelled<const N: usize>(labels: [(&'static str, &str); N]) -> Metric {
    let pairs = labels.map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    });
    Metric::from_label(pairs.into())
}

/// Written so that 100 ns come out as 0.0000001, and not as the nearest neighbour that a product gives.
fn nanos_to_seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
