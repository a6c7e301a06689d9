from ordermill.main import main

main()
