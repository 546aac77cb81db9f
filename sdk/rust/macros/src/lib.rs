//! The attributes `#[controller]`, `#[middleware]`, `#[balancer]` and `#[store_controller]` of `sc-sdk`: they make a
//! component of a crate by exporting what the host calls. They know nothing of the exports themselves, which the SDK's
//! bindings hold.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Code;
use quote::quote;
use syn::{ItemFn, ReturnType};

/// Marks the function that sets a worker's controller up: `fn run(worker: &mut Worker)`, or the same with a
/// `Result<(), E>` whose `E: Display` tells why the controller does not start. One per component.
///
/// ```no_run
/// use sc_sdk::prelude::*;
///
/// #[controller]
/// fn run(worker: &mut Worker) {
///     worker.on_connection(|socket| socket.emit("greet", "hello world"));
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn controller(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(&worker(), arguments, item)
}

/// Marks the function that sets a middleware up: `fn run(chain: &mut Middleware)`, or the same with a `Result<(), E>`
/// whose `E: Display` tells why it does not start. One per component.
///
/// ```no_run
/// use sc_sdk::middleware::prelude::*;
///
/// #[middleware]
/// fn run(chain: &mut Middleware) {
///     chain.on(Line::PublishIn, async |_action| block("ReadOnlyError", "nobody publishes here"));
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn middleware(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(&chain(), arguments, item)
}

/// Marks the function that sets a balancer's controller up: `fn run(balancer: &mut Balancer)`, or the same with a
/// `Result<(), E>` whose `E: Display` tells why it does not start. One per component.
///
/// ```no_run
/// use sc_sdk::balancer::prelude::*;
///
/// #[balancer]
/// fn run(balancer: &mut Balancer) {
///     balancer.on_request(|request| match request.path().as_str() {
///         "/admin" => answer(Response::text("not here\n").with_status(403)),
///         _ => allow(),
///     });
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn balancer(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(&door(), arguments, item)
}

/// Marks the function that sets a store's controller up: `fn run(store: &mut Store)`, or the same with a
/// `Result<(), E>` whose `E: Display` tells why the controller does not start. One per component.
///
/// ```no_run
/// use sc_sdk::store::prelude::*;
///
/// #[store_controller]
/// fn run(store: &mut Store) {
///     store.procedure("visit", |data, page: String| data.increment(page, 1));
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn store_controller(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expanded(&store(), arguments, item)
}

/// What the kinds of controllers differ in.
struct Kind {
    /// Implements what is exported for `Component`, whose setup is the given code with a `handle`.
    entry: fn(&Code) -> Code,
    export: Code,
}

/// The trait whose one function is the setup.
fn run(entry: &Code, handle: &Code, setup: &Code) -> Code {
    quote! {
        impl #entry for Component {
            fn run(handle: &mut #handle) -> ::core::result::Result<(), ::std::string::String> {
                #setup
            }
        }
    }
}

fn worker() -> Kind {
    Kind {
        entry: |setup| run(&quote!(::sc_sdk::export::Entry), &quote!(::sc_sdk::Worker), setup),
        export: quote!(::sc_sdk::bindings::export!(Component with_types_in ::sc_sdk::bindings);),
    }
}

fn chain() -> Kind {
    Kind {
        entry: |setup| {
            quote! {
                impl ::sc_sdk::export::sc_sdk_middleware::Entry for Component {
                    const CALLS: ::sc_sdk::export::sc_sdk_middleware::Calls = ::sc_sdk::export::MIDDLEWARE;

                    fn start(
                        info: ::sc_sdk::export::sc_sdk_middleware::StartInfo,
                    ) -> ::core::result::Result<(), ::std::string::String> {
                        ::sc_sdk::export::start_middleware(info, |handle| { #setup })
                    }
                }
            }
        },
        export: quote! {
            ::sc_sdk::export::sc_sdk_middleware::bindings::export_middleware!(
                Component with_types_in ::sc_sdk::export::sc_sdk_middleware::bindings
            );
        },
    }
}

fn door() -> Kind {
    Kind {
        entry: |setup| {
            quote! {
                impl ::sc_sdk::export::sc_sdk_balancer::Entry for Component {
                    const CALLS: ::sc_sdk::export::sc_sdk_balancer::Calls = ::sc_sdk::export::BALANCER;

                    fn start(
                        info: ::sc_sdk::export::sc_sdk_balancer::StartInfo,
                    ) -> ::core::result::Result<(), ::std::string::String> {
                        ::sc_sdk::export::start_balancer(info, |handle| { #setup })
                    }
                }
            }
        },
        export: quote! {
            ::sc_sdk::export::sc_sdk_balancer::bindings::export_balancer!(
                Component with_types_in ::sc_sdk::export::sc_sdk_balancer::bindings
            );
        },
    }
}

fn store() -> Kind {
    Kind {
        entry: |setup| run(&quote!(::sc_sdk::store::StoreEntry), &quote!(::sc_sdk::store::Store), setup),
        export: quote!(::sc_sdk::store_bindings::export_store!(Component with_types_in ::sc_sdk::store_bindings);),
    }
}

fn expanded(kind: &Kind, arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand(kind, &arguments.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(kind: &Kind, arguments: &Code, item: Code) -> syn::Result<Code> {
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    let wrong = |at: &dyn quote::ToTokens, message: &str| Err(syn::Error::new_spanned(at, message));
    if !arguments.is_empty() {
        return wrong(arguments, "a controller's attribute takes no arguments");
    }
    if let Some(asyncness) = &signature.asyncness {
        return wrong(asyncness, "a controller's function is not async: start tasks with `spawn` instead");
    }
    if !signature.generics.params.is_empty() {
        return wrong(&signature.generics, "a controller's function has no generic parameters");
    }
    if signature.inputs.len() != 1 {
        let message = "a controller's function takes one argument: `fn run(worker: &mut Worker)`";
        return wrong(signature, message);
    }
    let name = &signature.ident;
    let call = match &signature.output {
        ReturnType::Default => quote! { #name(handle); ::core::result::Result::Ok(()) },
        ReturnType::Type(..) => quote! { ::sc_sdk::export::started(#name(handle)) },
    };
    let (entry, export) = ((kind.entry)(&call), &kind.export);
    Ok(quote! {
        #function

        const _: () = {
            struct Component;

            #entry

            #export
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &Code, item: Code) -> Result<String, String> {
        expand(&worker(), arguments, item).map(|code| code.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_controller_keeps_its_function_and_gets_exports() {
        let code = expanded(&quote!(), quote! { fn run(worker: &mut Worker) {} }).unwrap();
        assert!(code.starts_with("fn run (worker : & mut Worker) { }"), "{code}");
        assert!(code.contains("export !"), "{code}");
    }

    #[test]
    fn what_cannot_be_a_controller_is_told_why() {
        for (item, word) in [
            (quote! { async fn run(worker: &mut Worker) {} }, "spawn"),
            (quote! { fn run() {} }, "one argument"),
            (quote! { fn run<T>(worker: &mut T) {} }, "generic"),
            (quote! { struct Run; }, "expected"),
        ] {
            let error = expanded(&quote!(), item).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(expanded(&quote!(x), quote! { fn run(worker: &mut Worker) {} }).is_err());
    }
}
