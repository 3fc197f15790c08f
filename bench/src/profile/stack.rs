//! What a stack tells: the module of ours that was at work, the system call in which a thread
//! waits, the work of a kernel thread. Pure.

use crate::profile::events::Frame;

/// The crates of ours whose modules are stages.
const OURS: [&str; 3] = ["blockio::", "mtctl::", "system::"];
/// Modules that work for whatever stage calls them.
const HELPERS: [&str; 4] = ["device", "patience", "plain", "storage"];
/// Modules below this depth are not told apart.
const DEPTH: usize = 2;

/// The stage: the innermost module of ours on the stack that is no helper, if there is one.
pub(crate) fn stage(stack: &[Frame]) -> String {
    let ours = || stack.iter().filter_map(|frame| module(&frame.symbol));
    let is_helper = |module: &str| HELPERS.contains(&module.split("::").next().unwrap_or(module));
    let found = ours().find(|module| !is_helper(module)).or_else(|| ours().next());
    found.unwrap_or_else(|| "-".to_owned())
}

/// The module of `symbol` if it is ours, without the crate.
fn module(symbol: &str) -> Option<String> {
    let (place, name) = OURS
        .iter()
        .filter_map(|name| Some((symbol.find(name)?, name)))
        .min_by_key(|(place, _)| *place)?;
    let mut path = Vec::new();
    let mut segments = symbol[place + name.len()..].split("::").peekable();
    while let Some(segment) = segments.next() {
        let is_word = segment.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
        // What is last, or only has a closure in it, is a function; after a module comes a name.
        let is_last = segments.peek().is_none_or(|next| next.starts_with('{'));
        if segment.is_empty() || !is_word || is_last || path.len() == DEPTH {
            break;
        }
        path.push(segment);
    }
    Some(if path.is_empty() { name.trim_end_matches(':').to_owned() } else { path.join("::") })
}

/// What a thread waits for: the system call, or a fault on a page.
pub(crate) fn wait(stack: &[Frame]) -> String {
    let mut kernel = stack.iter().filter(|frame| frame.is_kernel);
    let found = kernel.find_map(|Frame { symbol, .. }| {
        let call = ["__x64_sys_", "__arm64_sys_", "__do_sys_", "__se_sys_"];
        let call = call.iter().find_map(|prefix| symbol.strip_prefix(prefix));
        match symbol.as_str() {
            "exc_page_fault" => Some("page fault"),
            _ => call,
        }
    });
    found.unwrap_or("other").to_owned()
}

/// What a kernel thread does: its work, or else its own name; `None` for a thread of a process.
pub(crate) fn kernel_work(stack: &[Frame], name: &str) -> Option<String> {
    let at = |wanted: &str| stack.iter().position(|frame| frame.symbol == wanted);
    at("kthread")?;
    let work = at("process_one_work").and_then(|place| stack.get(place.checked_sub(1)?));
    let name = name.split(['/', ':']).next().unwrap_or(name);
    Some(work.map_or(name, |frame| &frame.symbol).to_owned())
}

/// The name of a function without the hash that the compiler appends.
pub(crate) fn plain(symbol: &str) -> &str {
    match symbol.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name
        }
        _ => symbol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(symbols: &[&str]) -> Vec<Frame> {
        let frame = |symbol: &&str| {
            let is_kernel = !symbol.contains("::");
            Frame { is_kernel, symbol: (*symbol).to_owned() }
        };
        symbols.iter().map(frame).collect()
    }

    #[test]
    fn the_stage_is_the_module_of_the_innermost_function_of_ours() {
        let of = |symbols: &[&str]| stage(&stack(symbols));
        let nested = ["crc32c::hw::sum", "blockio::verify::verify", "blockio::apply::session::run"];
        assert_eq!(of(&nested), "verify");
        assert_eq!(of(&["<blockio::journal::log::Log<S> as core::Drop>::drop"]), "journal::log");
        assert_eq!(of(&["blockio::apply::volumes::advancing::Volume::step"]), "apply::volumes");
        assert_eq!(of(&["blockio::nbd::server::serve::{{closure}}"]), "nbd::server");
        assert_eq!(of(&["core::ptr::drop_in_place<blockio::device::Engine>"]), "device");
        assert_eq!(of(&["blockio::run"]), "blockio");
        let reads = ["blockio::device::blocking::Blocking::read", "blockio::view::View::read"];
        assert_eq!(of(&reads), "view");
        assert_eq!(of(&["memcpy", "std::rt::main"]), "-");
    }

    #[test]
    fn a_wait_is_told_by_its_system_call() {
        let waits = ["__schedule", "io_cqring_wait", "__do_sys_io_uring_enter", "do_syscall_64"];
        assert_eq!(wait(&stack(&waits)), "io_uring_enter");
        assert_eq!(wait(&stack(&["schedule", "exc_page_fault"])), "page fault");
        assert_eq!(wait(&stack(&["schedule"])), "other");
    }

    #[test]
    fn a_kernel_thread_is_told_by_its_work() {
        let works = ["copy", "loop_workfn", "process_one_work", "worker_thread", "kthread"];
        let of = |symbols: &[&str], name| kernel_work(&stack(symbols), name);
        assert_eq!(of(&works, "kworker/u8:6").as_deref(), Some("loop_workfn"));
        assert_eq!(of(&["run_ksoftirqd", "kthread"], "ksoftirqd/0").as_deref(), Some("ksoftirqd"));
        assert_eq!(of(&["io_wq_worker", "ret_from_fork"], "iou-wrk-7"), None);
    }

    #[test]
    fn a_hash_is_no_part_of_a_name() {
        assert_eq!(plain("blockio::plan::plan::h0123456789abcdef"), "blockio::plan::plan");
        assert_eq!(plain("blockio::plan::hash"), "blockio::plan::hash");
    }
}
