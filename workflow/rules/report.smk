for scope, (tables, figures) in SCOPES.items():

    rule:
        name:
            f"make_{scope}"
        input:
            tables=get_csv_tables(tables),
            figures=get_drawings(figures),
            results=COLLECTED[scope],
            claims=get_claims(scope),
            captions=get_captions_of_report(),
        output:
            page=report(
                f"{RESULTS}/{scope}.html",
                "../report/report.rst",
                category="Summary",
                labels={"page": f"{scope} on one page"},
            ),
        log:
            f"{LOGS}/make_report/{scope}.log",
        benchmark:
            f"{JOBS}/make_report/{scope}.tsv"
        conda:
            "../envs/torch.yaml"
        threads: 1
        resources:
            mem_mb=1000,
            runtime=10,
        params:
            settings=get_settings(),
            code=get_code("make-report"),
            jobs=JOBS,
            claims=get_claims_option,
            config=get_config_file,
        message:
            "One page with everything"
        shell:
            "python -m opentrans make-report --config {params.config} --results {input.results} --tables {input.tables}"
            " --figures {input.figures} --captions {input.captions} --jobs {params.jobs} {params.claims} --output {output.page}"
            " > {log} 2>&1"
