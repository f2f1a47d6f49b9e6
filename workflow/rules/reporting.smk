for scope, (tables, _) in SCOPES.items():

    rule:
        name:
            f"collect_results_of_{scope}"
        input:
            get_evaluations(tables),
        output:
            results=report(
                COLLECTED[scope],
                "../report/results.rst",
                category="Tables",
                labels={"table": f"results of the {scope}"},
            ),
        log:
            f"{LOGS}/collect_results/{scope}.log",
        benchmark:
            f"{JOBS}/collect_results/{scope}.tsv"
        conda:
            "../envs/tables.yaml"
        threads: 1
        resources:
            mem_mb=500,
            runtime=5,
        params:
            settings=get_settings("evaluation.denominator"),
            code=get_code("collect-results"),
            config=get_config_file,
        message:
            "One row for each run, seed and benchmark"
        shell:
            "python -m opentrans collect-results --config {params.config} --evaluations {input}"
            " --output {output.results} > {log} 2>&1"


for number in ALL_TABLES:

    rule:
        name:
            f"make_table_{number}"
        input:
            evaluations=get_evaluations([number]),
            costs=get_costs([number]),
            cka=get_comparisons([number]),
            rounds=get_iteration_files("rounds.csv", [number]),
            logs=get_iteration_files("log.csv", [number]),
            experiments=EXPERIMENT_TABLE,
            paper=PAPER,
        output:
            mark_tables([number]),
        log:
            f"{LOGS}/make_tables/table{number}.log",
        benchmark:
            f"{JOBS}/make_tables/table{number}.tsv"
        conda:
            "../envs/tables.yaml"
        threads: 1
        resources:
            mem_mb=500,
            runtime=5,
        params:
            settings=get_settings("profile", "seeds", "benchmarks"),
            code=get_code("make-tables"),
            table=number,
            folder=get_folder,
            config=get_config_file,
        message:
            "The paper's table {params.table}"
        shell:
            "python -m opentrans make-tables --config {params.config} --evaluations {input.evaluations}"
            " --costs {input.costs} --cka {input.cka} --rounds {input.rounds} --logs {input.logs}"
            " --experiments {input.experiments} --paper {input.paper} --tables {params.table}"
            " --output-dir {params.folder} > {log} 2>&1"


rule judge_claims:
    input:
        results=COLLECTED["report"],
        costs=get_costs(ALL_TABLES),
        cka=get_comparisons(ALL_TABLES),
        alphas=get_traces(),
        experiments=EXPERIMENT_TABLE,
        claims=CLAIMS,
        paper=PAPER,
    output:
        table=report(
            f"{RESULTS}/claims.csv",
            "../report/claims.rst",
            category="Claims",
            labels={"table": "claims of the paper"},
        ),
        text=f"{RESULTS}/claims.md",
    log:
        f"{LOGS}/judge_claims.log",
    benchmark:
        f"{JOBS}/judge_claims.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        settings=get_settings("profile", "seeds", "benchmarks"),
        code=get_code("judge-claims"),
        config=get_config_file,
    message:
        "Which of the paper's claims hold in this run"
    shell:
        "python -m opentrans judge-claims --config {params.config} --results {input.results} --costs {input.costs}"
        " --cka {input.cka} --alphas {input.alphas} --experiments {input.experiments} --claims {input.claims} --paper {input.paper} --output {output.table}"
        " --markdown {output.text} > {log} 2>&1"


rule make_metrics:
    input:
        results=COLLECTED["summary"],
    output:
        metrics=f"{RESULTS}/metrics.json",
        plot=f"{RESULTS}/miou.csv",
    log:
        f"{LOGS}/make_metrics.log",
    benchmark:
        f"{JOBS}/make_metrics.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=get_code("make-metrics"),
        config=get_config_file,
    message:
        "mIoU in the forms that DVC compares between commits"
    shell:
        "python -m opentrans make-metrics --config {params.config} --results {input.results}"
        " --metrics {output.metrics} --plot {output.plot} > {log} 2>&1"
