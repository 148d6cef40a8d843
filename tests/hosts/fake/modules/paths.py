models_path = data_path = script_path = ""
