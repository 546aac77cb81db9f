//! What the store of a site's instance holds: its limits, WASI with nothing granted but clocks and random, and the way
//! out.

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::outbound::Outbound;
use crate::confined::Bounded;
use crate::quota::Quota;
use crate::voice::Voice;

/// The store's data.
pub(super) struct SiteContext {
    pub(super) quota: Quota,
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
}

impl SiteContext {
    pub(super) fn new(voice: &Voice, memory_max: usize, outbound: Outbound) -> Self {
        SiteContext {
            quota: Quota::new(memory_max),
            table: ResourceTable::new(),
            wasi: WasiCtxBuilder::new().stdout(voice.stdout()).stderr(voice.stderr()).build(),
            http: WasiHttpCtx::new(),
            outbound,
        }
    }
}

impl Bounded for SiteContext {
    fn quota(&mut self) -> &mut Quota {
        &mut self.quota
    }
}

impl WasiView for SiteContext {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for SiteContext {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outbound }
    }
}
