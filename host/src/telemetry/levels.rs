//! What is logged: `log.level` is a level, or directives such as `info,sc_worker=debug`. Notices are a part by their
//! name (`info,notice=off`), and a level between `warn` and `info`.

use sc_core::log::NOTICE;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The filter for a level or directives.
pub(crate) fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let words = text.split(',').map(|word| match word.trim() {
        word if word.eq_ignore_ascii_case(NOTICE) => format!("warn,{NOTICE}=info"),
        word => word.to_owned(),
    });
    EnvFilter::try_new(words.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::Subscriber;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    struct Count(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &tracing::Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many of a warning, a notice and an info are logged.
    fn logged(level: &str) -> [usize; 3] {
        let count = Arc::new(AtomicUsize::new(0));
        let of = |work: fn()| {
            let before = count.load(Ordering::Relaxed);
            let registry = tracing_subscriber::registry().with(filter(level).expect("a level"));
            tracing::subscriber::with_default(registry.with(Count(Arc::clone(&count))), work);
            count.load(Ordering::Relaxed) - before
        };
        let warning = of(|| tracing::warn!("a warning"));
        let notice = of(|| tracing::info!(target: NOTICE, "a notice"));
        let info = of(|| tracing::info!("an info"));
        [warning, notice, info]
    }

    #[test]
    fn notices_are_a_part_and_a_level() {
        for (level, expected) in [
            ("error", [0, 0, 0]),
            ("warn", [1, 0, 0]),
            ("notice", [1, 1, 0]),
            ("warn,notice=info", [1, 1, 0]),
            ("info", [1, 1, 1]),
            ("info,notice=off", [1, 0, 1]),
            ("info, notice=warn", [1, 0, 1]),
        ] {
            assert_eq!(logged(level), expected, "{level}");
        }
    }
}
