//! Which network cards are near which memory: Mooncake's priority matrix, read from JSON or from this host.

use std::collections::BTreeMap;
use std::fs;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::error::Result;
use crate::{bail, fail};

/// Longest matrix that is read.
const MAX_BYTES: usize = 1 << 20;
const CARDS: &str = "/sys/class/infiniband";
const NODES: &str = "/sys/devices/system/node";

/// Cards to take first, and those to take when these do not work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Choice {
    preferred: Vec<String>,
    others: Vec<String>,
}

type Matrix = BTreeMap<String, Choice>;

/// Location of memory to cards. Nothing here chooses by it until RDMA does; it is checked, kept and shown.
#[derive(Default)]
pub struct Topology {
    matrix: Mutex<Matrix>,
}

impl Topology {
    /// Replaces the matrix by one in JSON: `{"cpu:0": [["mlx5_0"], ["mlx5_1"]], …}`.
    pub fn read(&self, text: &str) -> Result<()> {
        let matrix = parse(text)?;
        *self.matrix.lock() = matrix;
        Ok(())
    }

    pub fn read_file(&self, path: &str) -> Result<()> {
        let text = fs::read_to_string(path).map_err(|error| fail!(NotFound, "topology {path}: {error}"))?;
        self.read(&text).map_err(|error| error.context(path))
    }

    /// Replaces the matrix by what this host has; an empty list of names means all cards.
    pub fn discover(&self, wanted: &[String]) {
        let mut cards = names(CARDS);
        cards.retain(|card| wanted.is_empty() || wanted.contains(card));
        let node_of = |card: &String| -> Option<u32> {
            fs::read_to_string(format!("{CARDS}/{card}/device/numa_node")).ok()?.trim().parse().ok()
        };
        let near: Vec<(String, Option<u32>)> =
            cards.into_iter().map(|card| (card.clone(), node_of(&card))).collect();
        let nodes = names(NODES).into_iter().filter_map(|name| name.strip_prefix("node")?.parse().ok());
        let mut nodes: Vec<u32> = nodes.collect();
        if nodes.is_empty() {
            nodes.push(0);
        }
        *self.matrix.lock() = arrange(&nodes, &near);
    }

    pub fn to_json(&self) -> Value {
        let matrix = self.matrix.lock();
        matrix
            .iter()
            .map(|(place, choice)| (place.clone(), json!([choice.preferred, choice.others])))
            .collect()
    }

    /// Every card of the matrix once.
    pub fn cards(&self) -> Vec<String> {
        let matrix = self.matrix.lock();
        let all = matrix.values().flat_map(|choice| choice.preferred.iter().chain(&choice.others));
        let mut cards: Vec<String> = all.cloned().collect();
        cards.sort();
        cards.dedup();
        cards
    }
}

fn arrange(nodes: &[u32], cards: &[(String, Option<u32>)]) -> Matrix {
    let choice = |node: u32| {
        let (near, far): (Vec<_>, Vec<_>) = cards.iter().partition(|(_, at)| *at == Some(node));
        let names = |cards: Vec<&(String, Option<u32>)>| -> Vec<String> {
            cards.into_iter().map(|(name, _)| name.clone()).collect()
        };
        Choice { preferred: names(near), others: names(far) }
    };
    nodes.iter().map(|node| (format!("cpu:{node}"), choice(*node))).collect()
}

fn parse(text: &str) -> Result<Matrix> {
    if text.len() > MAX_BYTES {
        bail!(InvalidArgument, "the topology has {} bytes, at most {MAX_BYTES} are read", text.len());
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|error| fail!(InvalidArgument, "the topology is no JSON: {error}"))?;
    let Value::Object(places) = value else {
        bail!(InvalidArgument, "the topology is no JSON object of locations");
    };
    places
        .into_iter()
        .map(|(place, ranks)| {
            let choice = choice_of(&ranks).ok_or_else(|| {
                fail!(InvalidArgument, "topology of {place:?}: must be [[preferred cards], [other cards]]")
            })?;
            Ok((place, choice))
        })
        .collect()
}

fn choice_of(ranks: &Value) -> Option<Choice> {
    let ranks = ranks.as_array().filter(|ranks| (1..=2).contains(&ranks.len()))?;
    let cards = |rank: &Value| -> Option<Vec<String>> {
        rank.as_array()?.iter().map(|card| card.as_str().map(str::to_owned)).collect()
    };
    Some(Choice {
        preferred: cards(&ranks[0])?,
        others: ranks.get(1).map_or_else(|| Some(Vec::new()), cards)?,
    })
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_comes_back_as_it_was_given() {
        let topology = Topology::default();
        let text = r#"{"cpu:0":[["mlx5_0"],["mlx5_1"]],"cuda:0":[["mlx5_1"],[]]}"#;
        topology.read(text).expect("a matrix");
        assert_eq!(topology.to_json().to_string(), text);
        assert_eq!(topology.cards(), ["mlx5_0", "mlx5_1"]);
        topology.read(r#"{"cpu:0":[["mlx5_2"]]}"#).expect("one rank");
        assert_eq!(topology.to_json().to_string(), r#"{"cpu:0":[["mlx5_2"],[]]}"#);
    }

    #[test]
    fn what_is_no_matrix_is_refused_and_the_old_one_stays() {
        let topology = Topology::default();
        topology.read(r#"{"cpu:0":[["mlx5_0"],[]]}"#).expect("a matrix");
        for text in
            ["", "{", "[]", "7", r#"{"a":1}"#, r#"{"a":[]}"#, r#"{"a":[["b"],[],[]]}"#, r#"{"a":[[1]]}"#]
        {
            assert!(topology.read(text).is_err(), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(topology.read(&deep).is_err());
        assert_eq!(topology.cards(), ["mlx5_0"]);
    }

    #[test]
    fn cards_of_the_same_node_are_preferred() {
        let card = |name: &str, node| (name.to_owned(), node);
        let matrix = arrange(&[0, 1], &[card("a", Some(0)), card("b", Some(1)), card("c", None)]);
        assert_eq!(matrix["cpu:0"].preferred, ["a"]);
        assert_eq!(matrix["cpu:0"].others, ["b", "c"]);
        assert_eq!(matrix["cpu:1"].preferred, ["b"]);
    }

    #[test]
    fn this_host_has_a_node() {
        let topology = Topology::default();
        topology.discover(&[]);
        assert!(topology.to_json().get("cpu:0").is_some());
        topology.discover(&["no such card".to_owned()]);
        assert!(topology.cards().is_empty());
    }
}
