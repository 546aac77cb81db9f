//! A component of another system: it exports nothing that the host calls, and imports what the host does not have.

wit_bindgen::generate!({
    inline: "
        package elsewhere:lamps@1.2.3;

        interface switches {
            turn-on: func(lamp: string);
        }

        world house {
            import switches;
            export evening: func();
        }
    ",
});

struct House;

export!(House);

impl Guest for House {
    fn evening() {
        elsewhere::lamps::switches::turn_on("hall");
    }
}
