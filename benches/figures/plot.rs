//! Plots of the figures.

use std::path::Path;

use plotters::prelude::*;

use crate::Result;

/// A named series of points.
pub(crate) type Curve = (&'static str, Vec<(f64, f64)>);

/// Draws `curves` as an SVG file, with a logarithmic x axis. The y axis begins at 0.
pub(crate) fn draw(path: &Path, title: &str, axes: (&str, &str), curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let top = points().map(|point| point.1).fold(1.0, f64::max);
    let area = SVGBackend::new(path, (800, 480)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d((1.0..right * 1.05).log_scale(), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .x_desc(axes.0)
        .y_desc(axes.1)
        .draw()?;
    for (index, (name, points)) in curves
        .iter()
        .filter(|(_, points)| !points.is_empty())
        .enumerate()
    {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3),
            )?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}
