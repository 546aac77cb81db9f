//! Bounds on what one instance holds: bytes of memory in sum over all its memories, elements of its tables, and how
//! many of each there may be. A component is made of several core modules, so a bound on each would multiply.

use wasmtime::ResourceLimiter;

/// Elements of all tables: far above what interpreters need, 8 MiB of pointers.
const TABLE_ELEMENTS: usize = 1_000_000;
/// Core instances of one component.
const INSTANCES: usize = 1_000;
/// Memories of one component.
const MEMORIES: usize = 100;
/// Tables of one component.
const TABLES: usize = 1_000;

/// What an instance holds and may hold.
#[derive(Debug)]
pub(crate) struct Quota {
    memory_max: usize,
    memory: usize,
    table_elements: usize,
    refused: bool,
}

impl Quota {
    pub(crate) fn new(memory_max: usize) -> Self {
        Quota { memory_max, memory: 0, table_elements: 0, refused: false }
    }

    /// A call begins: refusals of earlier calls explain nothing any more.
    pub(crate) fn begin(&mut self) {
        self.refused = false;
    }

    /// Whether growth was refused during this call.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused
    }

    fn grow(held: &mut usize, max: usize, current: usize, desired: usize, refused: &mut bool) -> bool {
        let after = held.saturating_add(desired.saturating_sub(current));
        let fits = after <= max;
        if fits {
            *held = after;
        } else {
            *refused = true;
        }
        fits
    }
}

impl ResourceLimiter for Quota {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Growth past the memory's own maximum fails by itself and must not be counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true);
        }
        Ok(Quota::grow(&mut self.memory, self.memory_max, current, desired, &mut self.refused))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(true);
        }
        Ok(Quota::grow(&mut self.table_elements, TABLE_ELEMENTS, current, desired, &mut self.refused))
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn tables(&self) -> usize {
        TABLES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }
}
