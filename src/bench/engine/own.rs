//! The gate's matcher.

use super::compiled::{Compiled, Search, exact, timed};
use super::simple::MOST_LOOPS;
use super::unfit::Unfit;
use crate::bench::style::BenchPattern;
use crate::knock::matcher::{BuildError, Engine, Matcher};

pub(super) fn chosen(wanted: &[BenchPattern]) -> Result<Compiled, Unfit> {
    let (matcher, took) = timed(|| Matcher::new(wanted.iter().map(BenchPattern::pattern)));
    let matcher = matcher.map_err(Unfit::failed)?;
    let chosen = Some(matcher.engine().name());
    let memory = matcher.memory_usage();
    Ok(Compiled { chosen, ..Compiled::new(matcher, memory, took) })
}

/// What an engine can't hold, the matcher leaves to another. Here that is no result of this engine.
pub(super) fn forced(wanted: &[BenchPattern], engine: Engine) -> Result<Compiled, Unfit> {
    if engine == Engine::Teddy {
        exact(wanted)?;
    }
    if engine == Engine::Memmem && wanted.len() > MOST_LOOPS {
        return Err(Unfit::TooSlow);
    }
    let build = || -> Result<_, BuildError> {
        Matcher::with_engine(wanted.iter().map(BenchPattern::pattern), engine)
    };
    let (matcher, took) = timed(build);
    let matcher = matcher.map_err(Unfit::failed)?;
    if matcher.engine() != engine {
        return Err(if engine == Engine::Teddy { Unfit::TooMany } else { Unfit::Kind });
    }
    let memory = matcher.memory_usage();
    Ok(Compiled::new(matcher, memory, took))
}

impl Search for Matcher {
    fn find(&self, packet: &[u8], found: &mut Vec<usize>) {
        found.extend(self.occurring(packet).into_iter().map(|id| id.index()));
    }
}
