//! Rules for functions: length, names that say whether they answer or refuse, and no `unwrap`
//! outside tests. Parsed rather than guessed from text.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Block, ExprMethodCall, GenericArgument, ImplItemFn, ItemFn, ItemMod, PathArguments,
    ReturnType, Signature, TraitItemFn, Type,
};

use crate::Offence;

const LINES_MAX: usize = 70;

/// How the name of a function begins that answers a question with yes or no.
const QUESTIONS: [&str; 7] = ["is_", "are_", "has_", "can_", "may_", "does_", "was_"];

/// The offences in the Rust file `text`; a file that cannot be parsed is one offence.
pub(crate) fn offences(path: &str, text: &str) -> Vec<Offence> {
    let file = match syn::parse_file(text) {
        Ok(file) => file,
        Err(error) => return vec![Offence::new(path, format!("not Rust: {error}"))],
    };
    let mut finder =
        Finder { path, in_tests: is_test_file(path) || is_test(&file.attrs), offences: Vec::new() };
    finder.visit_file(&file);
    finder.offences
}

/// Whether the whole file is a test: `name/tests.rs`, `name/tests/…`, `crate/tests/…`, benchmarks,
/// cases of machines.
pub(crate) fn is_test_file(path: &str) -> bool {
    let mut parts = path.rsplit('/');
    let file = parts.next().unwrap_or(path);
    file == "tests.rs" || parts.any(|folder| ["tests", "benches", "cases"].contains(&folder))
}

pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let condition = || attribute.parse_args::<syn::Path>();
        path.is_ident("test")
            || (path.is_ident("cfg") && condition().is_ok_and(|name| name.is_ident("test")))
    })
}

struct Finder<'a> {
    path: &'a str,
    in_tests: bool,
    offences: Vec<Offence>,
}

impl Finder<'_> {
    /// Counted from the line of the signature to that of the closing brace, without documentation.
    fn check_length(&mut self, signature: &Signature, block: &Block) {
        let first = signature.span().start().line;
        let lines = block.span().end().line + 1 - first;
        if lines > LINES_MAX {
            let name = &signature.ident;
            let message = format!("function {name} has {lines} lines, {LINES_MAX} at most");
            self.offences.push(Offence::at(self.path, first, message));
        }
    }

    /// What returns `Result<()>` refuses, and is called `check_…` or `require_…`.
    fn check_name(&mut self, signature: &Signature) {
        let name = signature.ident.to_string();
        let asks = QUESTIONS.iter().any(|begin| name.starts_with(begin));
        if asks && returns_nothing_or_an_error(&signature.output) && !self.in_tests {
            let message = format!("function {name} returns Result<()>: check_… or require_…");
            let line = signature.span().start().line;
            self.offences.push(Offence::at(self.path, line, message));
        }
    }

    /// Visits what `attributes` apply to, noting whether they make it a test.
    fn within(&mut self, attributes: &[Attribute], look: impl FnOnce(&mut Self)) {
        let outside = self.in_tests;
        self.in_tests |= is_test(attributes);
        look(self);
        self.in_tests = outside;
    }
}

fn returns_nothing_or_an_error(output: &ReturnType) -> bool {
    let ReturnType::Type(_, of) = output else { return false };
    let Type::Path(path) = of.as_ref() else { return false };
    let Some(last) = path.path.segments.last().filter(|last| last.ident == "Result") else {
        return false;
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return false };
    let first = arguments.args.first();
    matches!(first, Some(GenericArgument::Type(Type::Tuple(tuple))) if tuple.elems.is_empty())
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.within(&item.attrs, |finder| visit::visit_item_mod(finder, item));
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.check_length(&item.sig, &item.block);
        self.check_name(&item.sig);
        self.within(&item.attrs, |finder| visit::visit_item_fn(finder, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.check_length(&item.sig, &item.block);
        self.check_name(&item.sig);
        self.within(&item.attrs, |finder| visit::visit_impl_item_fn(finder, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        self.check_name(&item.sig);
        if let Some(block) = &item.default {
            self.check_length(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if call.method == "unwrap" && !self.in_tests {
            let message = "unwrap() outside tests: return the error, or expect(\"invariant: …\")";
            let line = call.method.span().start().line;
            self.offences.push(Offence::at(self.path, line, message));
        }
        visit::visit_expr_method_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::offences;

    fn messages(path: &str, text: &str) -> Vec<String> {
        offences(path, text)
            .into_iter()
            .map(|offence| format!("{} {}", offence.place, offence.message))
            .collect()
    }

    fn function_of(lines: usize) -> String {
        format!("/// Doc.\nfn long() {{\n{}}}\n", "    a();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_may_have_seventy_lines_and_not_one_more() {
        assert_eq!(messages("a.rs", &function_of(70)), [""; 0]);
        let expected = "a.rs:2 function long has 71 lines, 70 at most";
        assert_eq!(messages("a.rs", &function_of(71)), [expected]);
    }

    #[test]
    fn methods_trait_defaults_and_inner_functions_are_measured() {
        let long = function_of(71);
        for around in ["impl A {", "trait A {", "mod a {", "fn outer() { a(); } mod a {"] {
            assert_eq!(messages("a.rs", &format!("{around}\n{long}}}")).len(), 1, "{around}");
        }
        let nested = format!("fn outer() {{\n{long}}}");
        assert_eq!(messages("a.rs", &nested).len(), 2, "outer and long");
    }

    #[test]
    fn what_can_only_refuse_is_not_called_a_question() {
        let function = |name: &str, output: &str| format!("fn {name}() -> {output} {{ a() }}");
        for output in ["Result<()>", "io::Result<()>", "Result<(), String>"] {
            let found = messages("a.rs", &function("is_free", output));
            assert_eq!(found, ["a.rs:1 function is_free returns Result<()>: check_… or require_…"]);
            assert_eq!(messages("a.rs", &function("check_free", output)), [""; 0]);
        }
        for output in ["bool", "Result<bool>", "Option<()>"] {
            assert_eq!(messages("a.rs", &function("is_free", output)), [""; 0]);
        }
        let method = format!("impl A {{ {} }}", function("has_room", "Result<()>"));
        assert_eq!(messages("a.rs", &method).len(), 1);
    }

    #[test]
    fn unwrap_is_for_tests() {
        let call = "fn f() { a().unwrap().b(); }";
        assert!(messages("src/a.rs", call)[0].starts_with("src/a.rs:1 unwrap()"));
        assert_eq!(messages("src/a/tests.rs", call), [""; 0]);
        assert_eq!(messages("x/tests/a.rs", call), [""; 0]);
        assert_eq!(messages("x/benches/a.rs", call), [""; 0]);
        assert_eq!(messages("a.rs", &format!("#[test] {call}")), [""; 0]);
        assert_eq!(messages("a.rs", &format!("#[cfg(test)] mod t {{ {call} }}")), [""; 0]);
        assert_eq!(messages("a.rs", &format!("#![cfg(test)]\n{call}")), [""; 0]);
        let after = format!("#[cfg(test)] mod t {{}} {call}");
        assert_eq!(messages("a.rs", &after).len(), 1, "code after the tests is not a test");
        let otherwise = format!("#[cfg(unix)] mod t {{ {call} }}");
        assert_eq!(messages("a.rs", &otherwise).len(), 1);
    }

    #[test]
    fn a_file_that_is_not_rust_is_an_offence() {
        assert!(messages("a.rs", "fn {")[0].starts_with("a.rs not Rust"));
    }
}
