"""Figures of random answers by scikit-learn and SciPy: tests/data/evaluate/sklearn.json.

    pip install scikit-learn scipy && python scripts/goldens/evaluate.py > tests/data/evaluate/sklearn.json
"""
import json
import sys

import numpy as np
import sklearn
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_softmax, softmax
from scipy.stats import binomtest
from sklearn import metrics


def single_label(random):
    """Forty pictures of five classes, one of them rare, with tied logits."""
    targets = random.choice(5, 40, p=[0.4, 0.3, 0.2, 0.05, 0.05])
    logits = np.round(random.normal(0, 1.5, (40, 5)), 1)
    logits[np.arange(40), targets] += np.round(random.exponential(1.5, 40), 1)
    logits = logits.astype(np.float32).astype(float)
    probability, answer = softmax(logits, 1), logits.argmax(1)
    one_hot = np.eye(5)[targets]
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(targets, answer, labels=range(5), zero_division=0)

    def loss(temperature):
        return -log_softmax(logits / temperature, 1)[np.arange(40), targets].mean()

    fitted = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10})
    right = int((answer == targets).sum())
    interval = binomtest(right, 40).proportion_ci(method="wilson")
    return {
        "logits": logits.tolist(),
        "targets": [[int(t)] for t in targets],
        "accuracy": right / 40,
        "interval": [interval.low, interval.high],
        "top3": metrics.top_k_accuracy_score(targets, logits, k=3, labels=range(5)),
        "balanced_accuracy": metrics.balanced_accuracy_score(targets, answer),
        "macro_f1": f1.mean(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "average_precision": [metrics.average_precision_score(one_hot[:, c], probability[:, c]) for c in range(5)],
        "auroc": [metrics.roc_auc_score(one_hot[:, c], probability[:, c]) for c in range(5)],
        "confusion": metrics.confusion_matrix(targets, answer, labels=range(5)).tolist(),
        "nll": metrics.log_loss(targets, probability, labels=range(5)),
        "temperature": fitted.x,
    }


def multi_label(random):
    """Thirty pictures with any of four classes."""
    truth = random.random((30, 4)) < 0.4
    logits = (random.normal(0, 2, (30, 4)) + np.where(truth, 1.5, -1.5)).astype(np.float32).astype(float)
    probability = expit(logits)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(truth, logits >= 0, zero_division=0)

    def loss(temperature):
        return -np.where(truth, log_expit(logits / temperature), log_expit(-logits / temperature)).mean()

    fitted = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-10})
    return {
        "logits": logits.tolist(),
        "targets": [np.flatnonzero(row).tolist() for row in truth],
        "exact": metrics.accuracy_score(truth, logits >= 0),
        "macro_f1": f1.mean(),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "average_precision": metrics.average_precision_score(truth, probability, average=None).tolist(),
        "auroc": metrics.roc_auc_score(truth, probability, average=None).tolist(),
        "nll": loss(1.0),
        "temperature": fitted.x,
    }


def log_expit(x):
    return -np.logaddexp(0, -x)


if __name__ == "__main__":
    random = np.random.default_rng(3)
    goldens = {"by": f"scikit-learn {sklearn.__version__}", "single": single_label(random), "multi": multi_label(random)}
    json.dump(goldens, sys.stdout)
    print()
