//! The site's place in a worker. Another generation takes it at once, for nothing is kept between two requests: those
//! that the old one works on end there, within their own deadlines, and the next ones go to the new one.

use std::cell::RefCell;
use std::rc::Rc;

use sc_core::controller::{Generation, Label, StartError};
use sc_core::site::{Site, SiteSource};

use crate::controller::Order;

/// What answers for a site, and what makes another one of it.
pub struct SitePlace {
    source: Box<dyn SiteSource>,
    name: String,
    running: RefCell<Loaded>,
    /// What was replaced last, in case it comes back.
    previous: RefCell<Option<Loaded>>,
}

struct Loaded {
    site: Rc<dyn Site>,
    hash: String,
}

impl std::fmt::Debug for SitePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SitePlace").field("name", &self.name).finish_non_exhaustive()
    }
}

impl SitePlace {
    /// Loads the first generation.
    ///
    /// # Errors
    /// When it can be no site here.
    pub fn new(source: Box<dyn SiteSource>, generation: &Generation) -> Result<Self, StartError> {
        let running = load(&*source, generation)?;
        let (name, previous) = (generation.name().to_owned(), RefCell::default());
        Ok(SitePlace { source, name, running: RefCell::new(running), previous })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Who answers a request that comes now.
    pub(crate) fn present(&self) -> Rc<dyn Site> {
        Rc::clone(&self.running.borrow().site)
    }

    /// Does what the master wants, at once; why it could not.
    pub(crate) fn obey(&self, order: Order) -> Result<(), String> {
        match order {
            Order::Reload(_, generation) => self.replace(&generation),
            Order::RollBack(_) => {
                // Without one the new generation was not taken here.
                let previous = self.previous.borrow_mut().take();
                drop(previous.map(|previous| self.switch(previous)));
                Ok(())
            }
            Order::Keep => {
                *self.previous.borrow_mut() = None;
                Ok(())
            }
        }
    }

    fn replace(&self, generation: &Generation) -> Result<(), String> {
        match load(&*self.source, generation) {
            Ok(new) => {
                let old = self.switch(new);
                *self.previous.borrow_mut() = Some(old);
                Ok(())
            }
            Err(error) => {
                let reason = error.to_string();
                tracing::warn!(component = %generation.label(), reason, "the site was not replaced");
                Err(reason)
            }
        }
    }

    /// Gives what was there.
    fn switch(&self, new: Loaded) -> Loaded {
        let label = Label { name: &self.name, hash: &new.hash };
        tracing::info!(component = %label, "another generation of the site answers");
        self.running.replace(new)
    }
}

fn load(source: &dyn SiteSource, generation: &Generation) -> Result<Loaded, StartError> {
    Ok(Loaded { site: source.load(generation)?, hash: generation.hash.clone() })
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use sc_core::config::GuestConfig;
    use sc_core::controller::ComponentRef;
    use sc_core::site::{Answer, Body, SiteError};

    use super::*;

    struct Fake;

    impl Site for Fake {
        fn handle(&self, _: Request<Body>, _: bool) -> Answer<'_> {
            Box::pin(async { Err::<Response<Body>, _>(SiteError::Busy) })
        }
    }

    struct Fakes;

    impl SiteSource for Fakes {
        fn load(&self, generation: &Generation) -> Result<Rc<dyn Site>, StartError> {
            match &*generation.hash {
                "bad" => Err(StartError::Load("no site".to_owned())),
                _ => Ok(Rc::new(Fake)),
            }
        }
    }

    fn generation(hash: &str) -> Box<Generation> {
        let component = ComponentRef { name: "site".into(), compiled: "/".into(), hash: hash.into() };
        let guest =
            GuestConfig { memory_max: 1, cpu_per_call: std::time::Duration::ZERO, env: vec![], dirs: vec![] };
        Box::new(Generation { component, config: "{}".into(), guest, fails_open: false, hash: hash.into() })
    }

    #[test]
    fn the_one_before_comes_back_until_the_swap_is_final() {
        let place = SitePlace::new(Box::new(Fakes), &generation("1")).expect("a site");
        let hash = |place: &SitePlace| place.running.borrow().hash.clone();
        let first = place.present();
        assert_eq!(place.obey(Order::Reload(1, generation("2"))), Ok(()));
        assert!(hash(&place) == "2" && !Rc::ptr_eq(&first, &place.present()));
        assert_eq!(place.obey(Order::RollBack(2)), Ok(()));
        assert!(Rc::ptr_eq(&first, &place.present()));
        assert_eq!(place.obey(Order::Reload(1, generation("bad"))), Err("no site".to_owned()));
        // It has nothing to go back to, and is there already.
        assert_eq!(place.obey(Order::RollBack(2)), Ok(()));
        assert_eq!(hash(&place), "1");
        assert_eq!(place.obey(Order::Reload(1, generation("3"))), Ok(()));
        assert_eq!(place.obey(Order::Keep), Ok(()));
        assert_eq!(place.obey(Order::RollBack(2)), Ok(()));
        assert_eq!(hash(&place), "3");
    }
}
