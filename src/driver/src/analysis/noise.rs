//! How much the metrics of one and the same kernel differ from boot to boot on
//! a host. Pure: where it is kept is for others.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::comparison::{Comparison, Rule};
use crate::model::{Accel, Machine};
use crate::results::format::Noise;

/// Version of [`Store`] on disk.
const VERSION: u32 = 1;

/// Places that are remembered; the least recently measured goes first.
const PLACES: usize = 64;

/// Fewest boots of which a spread means anything.
const BOOTS: usize = 4;

/// What was measured, by the place where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Store {
    version: u32,
    places: BTreeMap<String, Here>,
}

/// Noise at one place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Here {
    /// Seconds since 1970 of the last measurement.
    measured_unix: i64,
    noise: Vec<Noise>,
}

impl Default for Store {
    fn default() -> Self {
        Self { version: VERSION, places: BTreeMap::new() }
    }
}

/// Where numbers of one kind come from: host, accelerator and guest.
#[must_use]
pub fn place(host: &BTreeMap<String, String>, accel: Accel, machine: &Machine) -> String {
    let fact = |name: &str| host.get(name).map_or("unknown", String::as_str);
    let root = machine.root.as_ref().map_or(String::new(), |root| format!(", root {root}"));
    format!(
        "{}, {} CPUs, {accel}, {}, {} guest CPUs{root}",
        fact("cpu"),
        fact("cpus"),
        machine.backend,
        machine.cpus
    )
}

impl Store {
    /// Reads what was kept. What cannot be read is nothing: noise is measured again.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let store = serde_json::from_slice::<Self>(bytes).ok();
        store.filter(|store| store.version == VERSION).unwrap_or_default()
    }

    /// As it is kept.
    ///
    /// # Errors
    ///
    /// Fails when a number is none, which [`of`] never gives.
    pub fn text(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// What is known of a place.
    #[must_use]
    pub fn at(&self, place: &str) -> &[Noise] {
        self.places.get(place).map_or(&[], |here| here.noise.as_slice())
    }

    /// Takes new figures in place of old ones of the same metrics.
    pub fn learn(&mut self, place: &str, now_unix: i64, noise: Vec<Noise>) {
        let here = self.places.entry(place.to_owned());
        let here = here.or_insert(Here { measured_unix: now_unix, noise: Vec::new() });
        here.measured_unix = now_unix;
        let is_new = |old: &Noise| !noise.iter().any(|it| (&it.test, &it.metric) == (&old.test, &old.metric));
        here.noise.retain(is_new);
        here.noise.extend(noise);
        while self.places.len() > PLACES {
            let oldest = self.places.iter().min_by_key(|(_, here)| here.measured_unix);
            let Some(oldest) = oldest.map(|(place, _)| place.clone()) else { break };
            self.places.remove(&oldest);
        }
    }
}

/// The noise that a comparison of a kernel with itself shows: the standard
/// deviation of its boots' medians, both sides together, as a share of them.
#[must_use]
pub fn of(comparison: &Comparison) -> Vec<Noise> {
    let noisy = comparison.metrics.iter().filter(|metric| metric.rule == Rule::Noisy);
    let noise = |metric: &super::MetricChange| {
        let boots: Vec<f64> = metric.base.iter().chain(&metric.head).map(|boot| boot.median).collect();
        let relative_sd = relative_sd(&boots)?;
        let (test, metric) = (metric.test.clone(), metric.metric.name.clone());
        Some(Noise { test, metric, relative_sd, boots: u32::try_from(boots.len()).unwrap_or(u32::MAX) })
    };
    noisy.filter_map(noise).collect()
}

/// Of the logarithms, as times are compared; of plain values beside their mean
/// where one is not positive.
fn relative_sd(values: &[f64]) -> Option<f64> {
    if values.len() < BOOTS {
        return None;
    }
    let sd = |values: &[f64]| {
        let count = f64::from(u32::try_from(values.len()).ok()?);
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        Some((mean, (squares / (count - 1.0)).sqrt()))
    };
    let relative = if values.iter().all(|value| *value > 0.0) {
        let logarithms: Vec<f64> = values.iter().map(|value| value.ln()).collect();
        sd(&logarithms)?.1
    } else {
        let (mean, sd) = sd(values)?;
        sd / mean.abs()
    };
    relative.is_finite().then_some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(test: &str, relative_sd: f64) -> Noise {
        Noise { test: test.to_owned(), metric: "m".to_owned(), relative_sd, boots: 12 }
    }

    #[test]
    fn what_was_learned_is_read_back_and_replaced_by_what_is_newer() {
        let mut store = Store::default();
        store.learn("here", 1, vec![noise("a", 0.1), noise("b", 0.2)]);
        store.learn("there", 2, vec![noise("a", 0.9)]);
        store.learn("here", 3, vec![noise("a", 0.3)]);
        let store = Store::parse(&store.text().expect("text"));
        assert_eq!(store.at("here"), [noise("b", 0.2), noise("a", 0.3)]);
        assert_eq!(store.at("there"), [noise("a", 0.9)]);
        assert_eq!(store.at("nowhere"), []);
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        for bad in [&b""[..], b"{", b"{\"version\":2,\"places\":{}}", b"[1]"] {
            assert_eq!(Store::parse(bad), Store::default());
        }
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let mut store = Store::default();
        for day in 0..200 {
            store.learn(&format!("host {day}"), day, vec![noise("a", 0.1)]);
        }
        assert_eq!(store.places.len(), PLACES);
        assert_eq!(store.at("host 0"), []);
        assert_eq!(store.at("host 199").len(), 1);
    }

    #[test]
    fn the_spread_of_factors_is_that_of_their_logarithms() {
        let boots = [100.0_f64, 102.0, 98.0, 104.0, 96.0];
        let sd = relative_sd(&boots).expect("a spread");
        assert!((sd - 0.0316).abs() < 0.001, "{sd}");
        assert_eq!(relative_sd(&[5.0; 4]), Some(0.0));
        assert_eq!(relative_sd(&[5.0; 3]), None);
        assert_eq!(relative_sd(&[0.0; 4]), None);
    }

    #[test]
    fn a_place_is_host_accelerator_and_guest() {
        let host =
            BTreeMap::from([("cpu".to_owned(), "Some CPU".to_owned()), ("cpus".to_owned(), "8".to_owned())]);
        assert_eq!(
            place(&host, Accel::Tcg, &Machine::default()),
            "Some CPU, 8 CPUs, tcg, qemu, 2 guest CPUs"
        );
    }
}
