//! What `perf script` prints, as events: who ran, who stopped running and why, who was woken. Pure.

/// A task and what it was doing at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SchedulerEvent {
    /// Process id of the task that was running.
    pub(crate) process: u32,
    /// Thread id of the task that was running; 0 is the idle task.
    pub(crate) thread: u32,
    /// The name of the task, as the kernel has it: at most 15 bytes.
    pub(crate) name: String,
    /// Since the machine was started.
    pub(crate) nanoseconds: u64,
    pub(crate) kind: Kind,
    /// From the innermost function outwards.
    pub(crate) stack: Vec<Frame>,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The clock ticked while the task was running.
    Running,
    /// The task gave its processor to another one.
    Switched {
        /// Whether it waits for something, as opposed to being made to wait for its turn.
        waits: bool,
        /// The thread that runs now.
        next: u32,
    },
    /// The task woke this thread, which waits for a processor from now on.
    Woke(u32),
}

/// One function of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) is_kernel: bool,
    pub(crate) symbol: String,
}

/// The next event of `lines`; `None` at their end. Lines that are no event are passed over.
pub(crate) fn next(lines: &mut impl Iterator<Item = String>) -> Option<SchedulerEvent> {
    let mut event = loop {
        if let Some(event) = header(&lines.next()?) {
            break event;
        }
    };
    // A wakeup has its one address in its own line, and nothing follows it.
    if !matches!(event.kind, Kind::Woke(_)) {
        event.stack = lines.map_while(|line| frame(&line)).collect();
    }
    Some(event)
}

/// `name process/thread [processor] seconds.nanoseconds: event: details`, where the name can
/// contain anything.
fn header(line: &str) -> Option<SchedulerEvent> {
    let bracket = line.match_indices(" [").find_map(|(place, _)| {
        let processor = line.get(place + 2..place + 5)?;
        let is_number = processor.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && line[place + 5..].starts_with("] ")).then_some(place)
    })?;
    let (name, ids) = line[..bracket].trim().rsplit_once(' ')?;
    let (process, thread) = ids.split_once('/')?;
    let (time, event) = line[bracket + 7..].split_once(": ")?;
    let (seconds, nanoseconds) = time.trim().split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    Some(SchedulerEvent {
        process: process.parse().ok()?,
        thread: thread.parse().ok()?,
        name: name.trim().to_owned(),
        nanoseconds: seconds * 1_000_000_000 + nanoseconds.parse::<u64>().ok()?,
        kind: kind(event.trim())?,
        stack: Vec::new(),
    })
}

fn kind(event: &str) -> Option<Kind> {
    if event.starts_with("cpu-clock") {
        return Some(Kind::Running);
    }
    if let Some(details) = event.strip_prefix("sched:sched_switch:") {
        let state = value(details, "prev_state=")?;
        let waits = !state.starts_with('R');
        return Some(Kind::Switched { waits, next: value(details, "next_pid=")?.parse().ok()? });
    }
    let details = event.strip_prefix("sched:sched_wakeup:")?;
    Some(Kind::Woke(value(details, " pid=")?.parse().ok()?))
}

/// The word after the last `key`: a name that precedes it can contain anything.
fn value<'a>(details: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = details.rsplit_once(key)?;
    rest.split_whitespace().next()
}

/// A line of a stack: an address, and the function. `None` for the empty line that ends it.
fn frame(line: &str) -> Option<Frame> {
    let (address, symbol) = line.trim().split_once(' ')?;
    // The upper half of the address space is the kernel's.
    let is_kernel = address.len() == 16 && address.starts_with("ffff");
    Some(Frame { is_kernel, symbol: symbol.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
      my tool 3 [x  7789/7790  [000] 17.181094360:   sched:sched_wakeup: comm=a pid=18 prio=0 \
target_cpu=000 ffffffff813a83e5 ttwu_do_activate
mtctl 29838/29844 [001] 17.181252606:   sched:sched_switch: prev_comm=mtctl prev_pid=29844 \
prev_prio=120 prev_state=S ==> next_comm=opt next_pid=0 prio=9 next_pid=77 next_prio=120
\tffffffff821f8b58 __schedule
\tffffffff81b464c6 __do_sys_io_uring_enter
\t          101829 blockio::device::uring::wait

sh  7790/7790  [001] 17.181693100: cpu-clock/freq=1999/: 
\t           14f38 intel_check_word.constprop.0
\t      1040000000 [unknown]

nonsense
sh  7790/7790  [001] 17.2: sched:sched_switch: prev_state=R+ ==> next_pid=8

";

    #[test]
    fn events_have_their_task_their_time_and_their_stack() {
        let mut lines = SCRIPT.lines().map(str::to_owned);
        let events: Vec<SchedulerEvent> = std::iter::from_fn(|| next(&mut lines)).collect();
        let kinds: Vec<Kind> = events.iter().map(|event| event.kind).collect();
        let wanted = [
            Kind::Woke(18),
            Kind::Switched { waits: true, next: 77 },
            Kind::Running,
            Kind::Switched { waits: false, next: 8 },
        ];
        assert_eq!(kinds, wanted);
        assert_eq!((events[0].name.as_str(), events[0].thread), ("my tool 3 [x", 7790));
        assert_eq!(events[1].nanoseconds, 17_181_252_606);
        let kernel: Vec<bool> = events[1].stack.iter().map(|frame| frame.is_kernel).collect();
        assert_eq!(kernel, [true, true, false]);
        assert_eq!(events[1].stack[2].symbol, "blockio::device::uring::wait");
        assert_eq!(events[2].stack.len(), 2);
        assert!(events[3].stack.is_empty());
    }
}
