//! Rings as graphs of one line.

use fleet::ring::Sample;

/// The heights there are, the lowest first.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws what was in steps of so many minutes, the last one at the right; where nothing was heard there is a gap. The
/// highest value stands behind.
pub fn draw(samples: &[Sample], now: u64, minutes: u64, columns: u64, value: fn(&Sample) -> f64, unit: &str) -> String {
    let first = (now / minutes).saturating_sub(columns - 1);
    let in_column = |column: u64| {
        let values = samples.iter().filter(|sample| sample.minute / minutes == first + column).map(value);
        values.fold(None, |most: Option<f64>, value| Some(most.map_or(value, |most| most.max(value))))
    };
    let values: Vec<Option<f64>> = (0..columns).map(in_column).collect();
    let most = values.iter().flatten().fold(0.0_f64, |most, value| most.max(*value));
    let height = |value: &f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 7")]
        let height = if most > 0.0 { (value / most * 7.0).round() as usize } else { 0 };
        HEIGHTS.get(height).copied().unwrap_or('?')
    };
    let line: String = values.iter().map(|value| value.as_ref().map_or(' ', height)).collect();
    format!("{line}  most {most:.*}{unit}", usize::from(most.fract() != 0.0 && most < 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_has_gaps_where_nothing_was_heard() {
        let sample = |minute, load| Sample { minute, readings: 1, load, memory: 50, flash: 50, clients: 2 };
        let samples = [sample(1000, 0), sample(1010, 16), sample(1030, 8), sample(1035, 12)];
        let load = |sample: &Sample| f64::from(sample.load) / 16.0;
        assert_eq!(draw(&samples, 1039, 10, 5, load, ""), " ▁█ ▆  most 1");
        assert_eq!(draw(&[], 1039, 10, 5, load, " %"), "       most 0 %");
    }
}
