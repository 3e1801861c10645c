//! Figures, and how they are printed.

/// Prints a figure as a line for programs.
pub(crate) fn bench(name: &str, value: f64, unit: &str) {
    println!("BENCH {{\"name\":\"{name}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}");
}

/// The value in the middle; of an even number, the mean of the two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}
