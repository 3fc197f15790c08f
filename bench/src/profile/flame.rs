//! Stacks as a flame graph: a static SVG, in which the width of a function is its share of the
//! processor time. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

/// The width of the picture, in pixels.
const WIDTH: f64 = 1200.0;
/// The height of a function.
const ROW: usize = 17;
/// The height of the title.
const TITLE: usize = 30;
/// Functions that are narrower are left out, to keep the file small.
const NARROWEST: f64 = 3.0;
/// The width of a letter, in pixels.
const LETTER: f64 = 6.6;

/// A function with those that it called.
#[derive(Debug, Default)]
struct Node {
    seconds: f64,
    children: BTreeMap<String, Node>,
}

/// The flame graph of `stacks`, which begin with the outermost function.
pub(crate) fn svg(title: &str, stacks: &BTreeMap<Vec<String>, f64>) -> String {
    let mut root = Node::default();
    for (stack, seconds) in stacks {
        root.add(stack, *seconds);
    }
    let mut boxes = String::new();
    let depth = draw(&root, &Place { left: 0.0, row: 0, scale: WIDTH / root.seconds }, &mut boxes);
    let height = TITLE + (depth + 1) * ROW;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"monospace\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"6\" y=\"20\" font-size=\"14\">{}</text>\n{boxes}</svg>\n",
        escaped(title)
    )
}

impl Node {
    fn add(&mut self, stack: &[String], seconds: f64) {
        self.seconds += seconds;
        if let Some((first, rest)) = stack.split_first() {
            self.children.entry(first.clone()).or_default().add(rest, seconds);
        }
    }
}

/// Where the children of a node are drawn; `scale` is in pixels a second.
#[derive(Clone, Copy, Debug)]
struct Place {
    left: f64,
    row: usize,
    scale: f64,
}

/// Draws the children of `node`; returns the number of rows.
fn draw(node: &Node, place: &Place, boxes: &mut String) -> usize {
    let mut left = place.left;
    let mut depth = place.row;
    for (name, child) in &node.children {
        let width = child.seconds * place.scale;
        if width >= NARROWEST {
            draw_box(name, child.seconds, left, width, place.row, boxes);
            let above = Place { left, row: place.row + 1, scale: place.scale };
            depth = depth.max(draw(child, &above, boxes));
        }
        left += width;
    }
    depth
}

fn draw_box(name: &str, seconds: f64, left: f64, width: f64, row: usize, boxes: &mut String) {
    let top = TITLE + row * ROW;
    let shown: String = name.chars().take(((width - 4.0) / LETTER).max(0.0) as usize).collect();
    let is_kernel = !name.contains("::");
    // Writing to a string cannot fail.
    let _ = write!(
        boxes,
        "<g><title>{} ({seconds:.3} s)</title><rect x=\"{left:.1}\" y=\"{top}\" \
         width=\"{:.1}\" height=\"{}\" rx=\"2\" fill=\"{}\"/>",
        escaped(&short(name)),
        width - 0.5,
        ROW - 1,
        colour(name, is_kernel)
    );
    if shown.len() > 2 {
        let (x, y) = (left + 2.0, top + 12);
        let _ = write!(boxes, "<text x=\"{x:.1}\" y=\"{y}\">{}</text>", escaped(&shown));
    }
    boxes.push_str("</g>\n");
}

/// Yellow to orange for the program, blue for the kernel and for libraries in C; always the same
/// for the same function.
fn colour(name: &str, is_kernel: bool) -> String {
    let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let (hue, lightness) = match is_kernel {
        true => (200 + sum % 20, 72 + sum % 9),
        false => (30 + sum % 25, 66 + sum % 9),
    };
    format!("hsl({hue},75%,{lightness}%)")
}

/// The start of a name that is very long because of its generics.
fn short(name: &str) -> String {
    name.chars().take(120).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_as_wide_as_its_share_and_narrow_ones_are_left_out() {
        let stack = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let stacks = BTreeMap::from([
            (stack(&["mtctl", "blockio::a<T>"]), 0.75),
            (stack(&["mtctl", "blockio::b"]), 0.2499),
            (stack(&["mtctl", "seldom"]), 0.0001),
        ]);
        let svg = svg("apply & co", &stacks);
        assert!(svg.contains("apply &amp; co"), "{svg}");
        assert!(svg.contains("<title>blockio::a&lt;T&gt; (0.750 s)</title>"), "{svg}");
        assert!(svg.contains("width=\"899.5\""), "{svg}");
        assert!(!svg.contains("seldom"), "{svg}");
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
    }
}
