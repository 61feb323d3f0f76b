"""One file per thing that an audit looks for. No torch, pandas, pyarrow or scikit-learn."""
