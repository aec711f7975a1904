//! Tables for people.
#![forbid(unsafe_code)]

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};

/// A table with its title line; numbers go to the right.
pub fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(titles).add_rows(rows);
    for (index, column) in table.column_iter_mut().enumerate() {
        let number = |row: &Vec<String>| row.get(index).is_some_and(|cell| is_number(cell));
        if !rows.is_empty() && rows.iter().all(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// Text of a file or a client as it can be shown: it must not steer the terminal.
pub fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn is_number(cell: &str) -> bool {
    cell.is_empty() || cell.strip_suffix(" %").unwrap_or(cell).replace(',', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_to_the_right() {
        let text = table(&["name", "n"], &[vec!["a".into(), "1".into()], vec!["b".into(), "22.5 %".into()]]);
        assert!(text.contains("│ a             1 │") || text.contains("      1 │"), "{text}");
    }
}
