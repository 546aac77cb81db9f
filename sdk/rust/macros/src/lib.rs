//! The `#[controller]` attribute of `sc-sdk`: it makes a component of a crate by exporting what the host calls. It
//! knows nothing of the exports themselves, which the SDK's bindings hold.

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
    expand(&arguments.into(), item.into()).unwrap_or_else(|error| error.to_compile_error()).into()
}

fn expand(arguments: &Code, item: Code) -> syn::Result<Code> {
    let function: ItemFn = syn::parse2(item)?;
    let signature = &function.sig;
    let wrong = |at: &dyn quote::ToTokens, message: &str| Err(syn::Error::new_spanned(at, message));
    if !arguments.is_empty() {
        return wrong(arguments, "#[controller] takes no arguments");
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
        ReturnType::Default => quote! { #name(worker); ::core::result::Result::Ok(()) },
        ReturnType::Type(..) => quote! { ::sc_sdk::export::started(#name(worker)) },
    };
    Ok(quote! {
        #function

        const _: () = {
            struct Component;

            impl ::sc_sdk::export::Entry for Component {
                fn run(
                    worker: &mut ::sc_sdk::Worker,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    #call
                }
            }

            ::sc_sdk::bindings::export!(Component with_types_in ::sc_sdk::bindings);
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: &Code, item: Code) -> Result<String, String> {
        expand(arguments, item).map(|code| code.to_string()).map_err(|error| error.to_string())
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
