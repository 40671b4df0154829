//! Line charts with logarithmic axes, as SVG: what measurements over powers of ten look best in.

use plotters::prelude::*;

/// A chart: what is measured, over what, for several things at a time.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// What the horizontal axis counts.
    pub x: &'a str,
    /// What the vertical axis measures, with its unit.
    pub y: &'a str,
    /// The lines, in the order of the legend.
    pub lines: Vec<PlotLine>,
}

/// One line.
#[derive(Clone, Debug)]
pub struct PlotLine {
    /// What the legend calls it.
    pub name: String,
    /// Its points from left to right. Those that are not positive have no place on a logarithmic axis, and are left out.
    pub points: Vec<(f64, f64)>,
}

impl Chart<'_> {
    /// The chart as an SVG document of its own.
    ///
    /// # Errors
    /// Where there is not a single point to draw.
    pub fn svg(&self) -> Result<String, NothingToPlot> {
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let positive = |&(x, y): &(f64, f64)| x > 0.0 && y > 0.0 && x.is_finite() && y.is_finite();
                (line, line.points.iter().copied().filter(positive).collect::<Vec<_>>())
            })
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let all = || lines.iter().flat_map(|(_, points)| points.iter().copied());
        let x = range(all().map(|(x, _)| x)).ok_or(NothingToPlot)?;
        let y = range(all().map(|(_, y)| y)).ok_or(NothingToPlot)?;
        let mut svg = String::new();
        // Drawing into a string fails only where what is drawn makes no sense, such as an axis of no extent.
        self.draw(&mut svg, &lines, x, y).map_err(|_| NothingToPlot)?;
        Ok(svg)
    }

    fn draw(
        &self,
        svg: &mut String,
        lines: &[(&PlotLine, Vec<(f64, f64)>)],
        x: (f64, f64),
        y: (f64, f64),
    ) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let (plot, legend) = root.split_horizontally(SIZE.0 - LEGEND);
        let mut chart = ChartBuilder::on(&plot)
            .caption(self.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())?;
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .axis_desc_style(("sans-serif", 15))
            .label_style(("sans-serif", 13))
            .light_line_style(RGBColor(238, 238, 238))
            .bold_line_style(RGBColor(205, 205, 205))
            .draw()?;
        for (index, (line, points)) in lines.iter().enumerate() {
            let (colour, style) = (colour(index), colour(index).stroke_width(2));
            let top = 56 + 22 * i32::try_from(index)?;
            // The second line of a colour is dashed.
            if index < PALETTE.len() {
                chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
                legend.draw(&PathElement::new([(4, top), (26, top)], style))?;
            } else {
                chart.draw_series(DashedLineSeries::new(points.iter().copied(), 6, 4, style))?;
                legend.draw(&PathElement::new([(4, top), (10, top)], style))?;
                legend.draw(&PathElement::new([(14, top), (20, top)], style))?;
                legend.draw(&PathElement::new([(24, top), (26, top)], style))?;
            }
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
            legend.draw(&Text::new(line.name.clone(), (32, top - 7), ("sans-serif", 14)))?;
        }
        root.present()?;
        Ok(())
    }
}

/// There is no point in the chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is nothing to plot: no value is above zero")]
pub struct NothingToPlot;

/// The range of an axis: from the smallest to the largest, with some room, and never empty.
fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (least, most) =
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
    (most > 0.0).then(|| (least / 1.3, most * 1.3))
}

/// `1,500` is `1.5k`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e3.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // Up to three decimals, without the zeros that mean nothing.
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

fn colour(index: usize) -> RGBColor {
    let (red, green, blue) = PALETTE.get(index % PALETTE.len()).copied().unwrap_or_default();
    RGBColor(red, green, blue)
}

/// Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008).
const PALETTE: [(u8, u8, u8); 8] = [
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (0, 0, 0),
    (150, 150, 150),
];

/// Pixels, the legend included: what fits a page of documentation.
const SIZE: (u32, u32) = (900, 480);

/// Pixels for the legend.
const LEGEND: u32 = 190;

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart<'static> {
        let lines = vec![PlotLine { name: "a <line>".to_owned(), points: points.to_vec() }];
        Chart { title: "Title", x: "knocks", y: "ns per packet", lines }
    }

    #[test]
    fn a_chart_names_what_it_shows() {
        let svg = chart(&[(1.0, 30.0), (10.0, 50.0), (100.0, 1500.0)]).svg().unwrap();
        for text in ["Title", "knocks", "ns per packet", "a &lt;line&gt;", "100"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn more_lines_than_colours() {
        let line =
            |n| PlotLine { name: format!("line {n}"), points: vec![(1.0, f64::from(n)), (10.0, 20.0)] };
        let svg = Chart { lines: (1..=13).map(line).collect(), ..chart(&[]) }.svg().unwrap();
        assert!((1..=13).all(|n| svg.contains(&format!("line {n}\n"))), "{svg}");
    }

    #[test]
    fn points_without_a_place_are_left_out() {
        assert!(chart(&[(1.0, 0.0), (10.0, 50.0), (f64::NAN, 1.0)]).svg().is_ok());
        assert_eq!(chart(&[(1.0, 0.0), (0.0, 1.0)]).svg(), Err(NothingToPlot));
        assert_eq!(chart(&[]).svg(), Err(NothingToPlot));
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in
            [(1.0, "1"), (0.25, "0.25"), (1500.0, "1.5k"), (10_000.0, "10k"), (2e6, "2M"), (100.0, "100")]
        {
            assert_eq!(short(value), text);
        }
    }
}
