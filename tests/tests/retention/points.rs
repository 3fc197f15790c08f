//! Recovery points: where they come from, how they are named, and when they go.
